// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the content of a registry name is to be had: an ordered list of hosts, mirrors first (upstream
 * core/remotes/docker/registry.go and config/hosts.go). A resolver asks a RegistryHostsFn for the list of
 * each name; registry_default_hosts is the one without configuration.
 */

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

/* What the hosts of one operation have in common. */
typedef struct {
	HttpClient *http;          // borrowed
	CredentialsFn credentials; // may be NULL
	void *credentials_data;
	const char *default_scheme; // NULL: https, but see registry_default_hosts
	HttpTls *tls;               // NULL: the system's. Borrowed
} RegistryOptions;

/* docker.io is at registry-1.docker.io. localhost and loopback addresses without default_scheme: https
 * without verification, then http, as upstream; port 80 is http, no port and 443 are https. data:
 * RegistryOptions. */
GPtrArray *registry_default_hosts(const char *name, void *data, GError **error);
bool registry_is_localhost(const char *host);
