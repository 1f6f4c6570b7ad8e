// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Registries: names to descriptors, descriptors to bytes, bytes to registries (upstream core/remotes/docker).
 *
 * A Resolver is made for one operation on one reference and may be used from any thread; everything blocks,
 * on the caller's thread, until done or canceled. Redirects are followed (10 of them): with Authorization
 * only for origins that asked for it, with the configured headers only on the host they are for, and never
 * from https to http for what is not verified by a digest. Transient failures are tried again, with back-off,
 * on the last host; before that the next host is tried.
 *
 * Error texts are upstream's: `pull access denied, repository does not exist or may require authorization:
 * ...`, `unexpected status from HEAD request to URL: 500 Internal Server Error`, `REF: not found`.
 */

#include "oci/descriptor.h"
#include "remote/registry.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define REMOTE_MANIFEST_MAX ((int64_t)4 * 1048 * 1048) // upstream's MaxManifestSize, as it is written there

typedef struct {
	HttpClient *http; // borrowed
	RegistryHostsFn hosts;
	void *hosts_data;
	const char *const *headers; // "Name: value", to every host of the list; NULL: none
	const HttpTrace *trace;     // NULL: none
} ResolverOptions;

typedef struct Resolver Resolver;
/* ref: `host/path[:tag][@digest]` (oci/reference.h). Asks for the hosts. */
Resolver *resolver_new(const ResolverOptions *options, const char *ref, GError **error);
void resolver_free(Resolver *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Resolver, resolver_free)
const char *resolver_ref(Resolver *r);

/* The descriptor of the reference: HEAD, then GET where that does not say enough. */
bool resolver_resolve(Resolver *r, Cancel *cancel, Descriptor *ret, GError **error);

/* The bytes of a blob or manifest from offset to desc->size (all of it where size is 0), in order; a
 * connection that breaks is resumed with a range, up to 3 times without progress. The bytes are not verified
 * here. More bytes than desc->size never reach the sink: FAILED_PRECONDITION. Fewer are as a broken
 * connection, in the end `short read: expected N bytes but got M: unexpected EOF`. A host that breaks without
 * having brought anything gives way to the next. Foreign URLs of the descriptor are tried first, without any
 * of our headers. Where no host has it: NOT_FOUND. */
bool resolver_fetch(Resolver *r, Cancel *cancel, const Descriptor *desc, int64_t offset, ByteSink sink,
                    void *data, GError **error);

/* What resolver_fetch brought for the digest was wrong: the host that sent it is asked last from now on.
 * true: there is another one to try. */
bool resolver_distrust(Resolver *r, const char *digest);

/* What refers to the manifest with this digest: by the referrers API, else by the tag that stands for it
 * (`sha256-...`). GPtrArray of Descriptor*, empty where there is nothing. artifact_types: only these, NULL:
 * all. */
GPtrArray *resolver_referrers(Resolver *r, Cancel *cancel, const char *digest,
                              const char *const *artifact_types, GError **error);

/* Where the bytes of a push come from; asked again, maybe from the start, when the request is repeated. */
typedef ssize_t (*PushSource)(void *data, void *buf, size_t len, int64_t offset, GError **error);
/* An upload that breaks goes on where it stopped if the registry knows where that is, else from the start; up
 * to 5 times. Uploads a blob or manifest, unless it is there or can be mounted from another repository that
 * the descriptor's distribution.source annotations name. *ret_exists: nothing was sent. tag: the manifest
 * goes under the reference's tag (only where the reference has no other digest), else under its digest. */
bool resolver_push(Resolver *r, Cancel *cancel, const Descriptor *desc, PushSource source, void *data,
                   bool *ret_exists, GError **error);
