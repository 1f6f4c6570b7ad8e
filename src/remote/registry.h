// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the content of a registry name is to be had: an ordered list of hosts, mirrors first (upstream
 * core/remotes/docker/registry.go and config/hosts.go; internal/cri/server/images for CRI's keys). A resolver
 * asks a RegistryHostsFn for the list of each name; registry_hosts is the one for all configuration there is.
 */

#include "base/schema.h"
#include "remote/auth.h"
#include "remote/http.h"

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>

/* What a host may be trusted with. */
enum {
	REGISTRY_PULL = 1 << 0,
	REGISTRY_RESOLVE = 1 << 1, // names to digests
	REGISTRY_PUSH = 1 << 2,
	REGISTRY_REFERRERS = 1 << 3,
	REGISTRY_ALL = REGISTRY_PULL | REGISTRY_RESOLVE | REGISTRY_PUSH | REGISTRY_REFERRERS,
};

typedef struct {
	char *scheme; // "http", "https"
	char *host;   // "registry.example:5000"
	char *path;   // "/v2", "" for the root
	unsigned capabilities;
	char **headers; // "Name: value", NULL: none; to this host only
	HttpTls *tls;   // NULL: the system's
	int64_t dial_timeout_ns;
	/* https is tried first, and http where the peer turns out to speak that (or nobody listens on 443).
	 */
	bool http_fallback;
	atomic_bool fell_back;  // it turned out so
	atomic_bool lied;       // sent content with another digest: asked last
	Authorizer *authorizer; // NULL: never authorized
	/* Its configuration cannot be used (a certificate that cannot be read, say): it is passed over, and
	 * this is why. */
	GError *broken;
	/* For explanations: where it is configured ("FILE:LINE"), its TLS settings; NULL: by default. */
	char *where, *tls_text;
} RegistryHost;
RegistryHost *registry_host_new(const char *scheme, const char *host, const char *path,
                                unsigned capabilities);
void registry_host_free(RegistryHost *h);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryHost, registry_host_free)
/* Hosts that are not the name's own are told whose content is wanted (`?ns=`). */
bool registry_host_is_proxy(const RegistryHost *h, const char *name);

/* The hosts of a name ("docker.io"), GPtrArray of RegistryHost* that owns them. Called once for each
 * operation, may read files. */
typedef GPtrArray *(*RegistryHostsFn)(const char *name, void *data, GError **error);

/* What the administrator says about all registries: a snapshot that does not change. Reference counted. */
typedef struct RegistrySettings RegistrySettings;
/* config_path: directories "a:b" (remote/hosts-toml.h), read anew for each operation. */
RegistrySettings *registry_settings_new(const char *config_path);
/* The `registry` table of a decoded section io.containerd.cri.v1.images: config_path, or the deprecated
 * mirrors, configs and auths; and headers. What does not go together was refused when the section was
 * validated (plugin/schemas-cri.c). `invalid cri image config: FILE:LINE: ...`. */
RegistrySettings *registry_settings_from_cri(const TomlValue *registry, GError **error);
RegistrySettings *registry_settings_ref(RegistrySettings *s); // NULL is fine
void registry_settings_unref(RegistrySettings *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistrySettings, registry_settings_unref)

/* The settings in force, which a reload replaces. Reference counted, thread-safe. */
typedef struct RegistryCurrent RegistryCurrent;
RegistryCurrent *registry_current_new(RegistrySettings *take);
RegistryCurrent *registry_current_ref(RegistryCurrent *c); // NULL is fine
void registry_current_unref(RegistryCurrent *c);
void registry_current_set(RegistryCurrent *c, RegistrySettings *take);
RegistrySettings *registry_current_get(RegistryCurrent *c); // a reference; NULL where c or it is NULL
/* Does it name directories or mirrors? NULL: no. */
bool registry_settings_has_hosts(const RegistrySettings *s);

/* What the hosts of one operation have in common. */
typedef struct {
	HttpClient *http;          // borrowed
	CredentialsFn credentials; // the client's, asked first; may be NULL
	void *credentials_data;
	const char *default_scheme; // NULL: https, but see registry_hosts
	HttpTls *tls;               // NULL: the system's; for hosts without their own. Borrowed
	RegistrySettings *settings; // NULL: nothing is configured. Borrowed
	GPtrArray *warnings;        // of char*: gets what is odd in files; NULL: it is logged
} RegistryOptions;

/* The hosts as the settings say. The name's own server where they say nothing, or not which: docker.io is at
 * registry-1.docker.io; localhost and loopback addresses without default_scheme: https without verification,
 * then http, as upstream; port 80 is http, no port and 443 are https. http with TLS settings is tried as
 * https first. data: RegistryOptions. Errors of files start with `FILE:LINE: `; a host whose certificates
 * cannot be used is in the list as broken. */
GPtrArray *registry_hosts(const char *name, void *data, GError **error);
bool registry_is_localhost(const char *host);
