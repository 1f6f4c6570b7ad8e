// SPDX-License-Identifier: Apache-2.0
#pragma once

/* One request to one host, with authorization, redirects and retries: what resolve, fetch and push share. */

#include "loop/lock.h"
#include "oci/reference.h"
#include "remote/resolver.h"

struct Resolver {
	HttpClient *http;
	char *ref;
	RefSpec spec;
	char *name;       // "docker.io"
	char *repository; // "library/alpine"
	GPtrArray *hosts; // of RegistryHost*
	char **headers;
	const HttpTrace *trace;
	char *scope_pull, *scope_push;
	Lock lock;
	GHashTable *sources; // digest -> where it came from; under the lock
};

typedef struct {
	Resolver *resolver;
	RegistryHost *host; // borrowed; NULL authorizer and own host for foreign URLs
	char *method;
	char *url;
	GPtrArray *headers; // "Name: value": of this request
	bool plain_headers; // none of the resolver's and the host's
	bool by_digest;     // the answer will be verified by its digest
	char **scopes;      // sorted
	PushSource body;
	void *body_data;
	int64_t body_size;
	bool denied; // set: what failed was the authorization
} Request;

/* The hosts that have all of these REGISTRY_* bits, in order; RegistryHost*, borrowed. */
GPtrArray *resolver_hosts_with(Resolver *r, unsigned capabilities);

/* The host that answered, or answers now, for content; NULL: a foreign URL did, or nobody. */
RegistryHost *resolver_source(Resolver *r, const char *digest);

/* parts: joined to the repository's path, NULL-terminated. */
Request *request_new(Resolver *r, RegistryHost *host, const char *method, const char *const *parts);
/* Any URL of the host. */
Request *request_new_url(Resolver *r, RegistryHost *host, const char *method, const char *url);
void request_free(Request *req);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Request, request_free)
void request_header(Request *req, const char *name, const char *value);
void request_scope(Request *req, const char *scope);

/* Sends, answers challenges, follows redirects, tries again. The answer may have any status. *ret_failure may
 * be NULL. */
HttpResponse *request_do(Request *req, Cancel *cancel, bool last_host, HttpFailure *ret_failure,
                         GError **error);
/* A HEAD that was forbidden says nothing: asks again with GET for the text of the refusal. */
bool request_error_with_body(Request *head, HttpResponse *answer, Cancel *cancel, GError **error);
