// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Authorization of requests to registries: Basic, and Bearer with tokens from the realm that the registry
 * names (upstream core/remotes/docker/authorizer.go, auth/fetch.go). Answers are kept for each host, tokens
 * for each host and set of scopes, until they expire. Nothing is sent to a host that did not ask for it, and
 * no credentials go to a realm over plain HTTP when the registry itself spoke TLS. Thread-safe; one fetch of
 * a token at a time for the same scopes, the others wait for it.
 */

#include "remote/http.h"

#include <glib.h>
#include <stdbool.h>

/* What is known about the user at a host ("registry.example:5000"). username empty: the secret is a refresh
 * token; header set: the whole Authorization header. All empty: nothing is known. */
typedef struct {
	char *username, *secret, *header;
} Credentials;
void credentials_clear(Credentials *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Credentials, credentials_clear)
/* May block, may ask the client over a stream. */
typedef bool (*CredentialsFn)(const char *host, Cancel *cancel, Credentials *ret, void *data, GError **error);

typedef struct Authorizer Authorizer;
/* Reference counted. http, tls: for the token server, http borrowed. headers: sent to the token server
 * ("Name: value"), copied. credentials may be NULL. */
Authorizer *authorizer_new(HttpClient *http, HttpTls *tls, const char *const *headers,
                           CredentialsFn credentials, void *data);
Authorizer *authorizer_ref(Authorizer *a); // NULL is fine
void authorizer_unref(Authorizer *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Authorizer, authorizer_unref)

/* The value of the Authorization header for a request to this origin ("https://host:port"), NULL where there
 * is none (yet). scopes: sorted, may be NULL. Texts as upstream: `failed to fetch anonymous token: ...`,
 * `failed to fetch oauth token: ...`. */
bool authorizer_authorize(Authorizer *a, Cancel *cancel, const char *origin, const char *const *scopes,
                          char **ret, GError **error);

/* A 401 came: think of the next answer. repeated: the very same request was refused just before. true: try
 * again. false without error: nothing can be done. *ret_denied: the error says that what we have is not
 * enough (upstream's ErrInvalidAuthorization): `server message: x: authorization failed`, `authorization
 * failed: no basic auth credentials`. */
bool authorizer_challenged(Authorizer *a, Cancel *cancel, HttpResponse *response, bool repeated,
                           bool *ret_denied, GError **error);
