// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the name and the password for a registry come from: the client of the request, a helper program
 * (docker-credential-NAME, protocol of docker/docker-credential-helpers), a file like Docker's config.json
 * with its helpers, the daemon's configuration. The first that knows something counts. Read anew each time,
 * kept nowhere, never in a text. What upstream agreed to and did not build (its issue 7385).
 */

#include "loop/cancel.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is known about the user at a host ("registry.example:5000"). username empty: the secret is a refresh
 * token; header set: the whole Authorization header. All empty: nothing is known. */
typedef struct {
	char *username, *secret, *header;
	char *source; // who said so, for texts: "the client", "docker-credential-pass"; NULL where nobody
} Credentials;
void credentials_clear(Credentials *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Credentials, credentials_clear)
bool credentials_empty(const Credentials *c);
/* May block, may ask the client over a stream. */
typedef bool (*CredentialsFn)(const char *host, Cancel *cancel, Credentials *ret, void *data, GError **error);

typedef struct {
	CredentialsFn client; // NULL: no client to ask
	void *client_data;
	char *helper, *file;       // as in hosts.toml; NULL: none
	Credentials fixed;         // of the configuration, with its source
	int64_t helper_timeout_ns; // 0: 10 s
} CredentialSources;
void credential_sources_free(CredentialSources *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CredentialSources, credential_sources_free)
bool credential_sources_empty(const CredentialSources *s);
/* Asks one after the other. Nobody knows anything: true and nothing in ret. A source that fails is an error:
 * a pull must not go on without a name because a helper is broken. `credential helper
 * "docker-credential-x" for "host": exit status 1: TEXT`. */
bool credentials_find(const CredentialSources *s, const char *host, Cancel *cancel, Credentials *ret,
                      GError **error);

/* Letters, digits, '-', '_', '.', not first '-' or '.', at most 64. */
bool credential_helper_name_valid(const char *name);
/* The answer of a helper: {"ServerURL", "Username", "Secret"}. */
bool credential_helper_parse(const char *out, size_t len, Credentials *ret, GError **error);
/* What a config.json says of a host: *ret_helper the helper to ask, where it names one (owned by the caller),
 * and in ret what stands in the file itself. */
bool docker_config_parse(const char *data, size_t len, const char *host, char **ret_helper, Credentials *ret,
                         GError **error);
/* "user:password" in base64, as Docker and CRI have it. */
bool credentials_decode_basic(const char *base64, Credentials *ret, GError **error);
