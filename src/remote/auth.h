// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Authorization of requests to registries: Basic, and Bearer with tokens from the realm that the registry
 * names (upstream core/remotes/docker/authorizer.go, auth/fetch.go). Answers are kept for each host, tokens
 * for each host and set of scopes, until they expire. Nothing is sent to a host that did not ask for it, no
 * credentials go to a realm over plain HTTP when the registry itself spoke TLS, and who was reached by a
 * redirect gets no credentials at all, whatever it asks for. Thread-safe; one fetch of
 * a token at a time for the same scopes, the others wait for it.
 */

#include "remote/credentials.h"
#include "remote/http.h"

#include <glib.h>
#include <stdbool.h>

typedef struct Authorizer Authorizer;
typedef struct {
	HttpClient *http;           // for the token server; borrowed
	HttpTls *tls;               // likewise; referenced
	const char *const *headers; // "Name: value", to the token server; copied. NULL: none
	const char *host;           // "registry.example:5000": whose credentials these are
	bool plain;                 // that host may be spoken to over plain HTTP
	CredentialSources *sources; // taken; NULL: none
} AuthorizerOptions;
/* Reference counted. */
Authorizer *authorizer_new(const AuthorizerOptions *options);
Authorizer *authorizer_ref(Authorizer *a); // NULL is fine
void authorizer_unref(Authorizer *a);
const CredentialSources *authorizer_sources(const Authorizer *a); // NULL is fine; borrowed
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
