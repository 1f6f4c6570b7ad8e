// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Platforms: specifiers such as `linux/arm/v7`, their canonical form, and what runs where (upstream
 * vendor/github.com/containerd/platforms). Plain data; a matcher does not change once made and may be used by
 * any thread.
 */

#include "base/json.h"
#include <glib.h>
#include <stdbool.h>

/* Members that are NULL are empty. Zeroed memory is an empty platform. */
typedef struct {
	char *os, *architecture, *variant, *os_version;
	char **os_features; // NULL: none
} Platform;

void platform_clear(Platform *p);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Platform, platform_clear)
void platform_copy(Platform *ret, const Platform *p);
Platform *platform_new_copy(const Platform *p); // NULL gives NULL
void platform_free(Platform *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Platform, platform_free)
bool platform_equal(const Platform *a, const Platform *b); // as written, not normalized

/* `<os>[(<version>[+<feature>...])]`, `<arch>` or `<os>/<arch>[/<variant>]`; the result is canonical, what is
 * left out is this machine's. Class UNKNOWN as upstream's (its sentinels are private), text
 * `"x": unknown operating system or architecture: invalid argument`. */
bool platform_parse(const char *specifier, Platform *ret, GError **error);
/* Of a list; the error is prefixed `invalid platform x: `. GPtrArray of Platform*. */
GPtrArray *platforms_parse(const char *const *specifiers, GError **error);
/* Canonical names: x86_64 is amd64, aarch64 is arm64, armhf is arm/v7, v8 of arm64 is left out... */
void platform_normalize(Platform *p);
/* "linux/arm/v7", "unknown" where there is no OS; _all has the OS version and features too. Owned by the
 * caller. */
char *platform_format(const Platform *p);
char *platform_format_all(const Platform *p);
/* This machine. */
void platform_default(Platform *ret);

/* Members "architecture", "os", "os.version", "os.features", "variant" of an object. Wrong types are
 * INVALID_ARGUMENT. */
bool platform_from_json(JsonObject *o, Platform *ret, GError **error);
JsonObject *platform_to_json(const Platform *p);

/* Says which platforms will do, and which of two is the better one. */
typedef struct PlatformMatcher PlatformMatcher;
/* What can run on the platform, best first: for arm64/v9 also v9.x, v8.x, arm/v8...v5; for amd64/v3 also v2,
 * v1 and 386. */
PlatformMatcher *platform_matcher_only(const Platform *p);
PlatformMatcher *platform_matcher_only_strict(const Platform *p); // nothing but the platform itself
/* The same operating system (with version and features), whatever the architecture; its own is better. */
PlatformMatcher *platform_matcher_os(const Platform *p);
PlatformMatcher *platform_matcher_default(void); // only(this machine)
/* Any of a GPtrArray of Platform*: the first is the best / none is better. */
PlatformMatcher *platform_matcher_ordered(GPtrArray *platforms);
PlatformMatcher *platform_matcher_any(GPtrArray *platforms);
PlatformMatcher *platform_matcher_all(void); // everything
void platform_matcher_free(PlatformMatcher *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PlatformMatcher, platform_matcher_free)
bool platform_matches(const PlatformMatcher *m, const Platform *p);
/* a is better than b. */
bool platform_less(const PlatformMatcher *m, const Platform *a, const Platform *b);
