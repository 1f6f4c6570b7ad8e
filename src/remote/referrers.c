// SPDX-License-Identifier: Apache-2.0
/* What refers to a manifest: signatures, attestations (upstream core/remotes/docker/referrers.go). */
#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "oci/manifest.h"
#include "oci/media-types.h"
#include "remote/registry-error.h"
#include "remote/resolver-private.h"
#include "remote/url.h"
#include <string.h>

enum {
	PAGES_MAX = 64,
};

/* The next page's URL, from `Link: </v2/...>; rel="next"`. NULL: this was the last. Owned by the caller. */
static char *next_page(HttpResponse *resp)
{
	g_autoptr(GPtrArray) links = http_header_values(resp, "Link");
	for (guint i = 0; i < links->len; i++) {
		const char *link = links->pdata[i], *end = strchr(link, '>');
		if (*link != '<' || end == NULL)
			continue;
		if (strstr(end, "rel=\"next\"") == NULL && strstr(end, "rel=next") == NULL)
			continue;
		g_autofree char *target = g_strndup(link + 1, (size_t)(end - link - 1));
		return url_resolve(http_url(resp), target);
	}
	return NULL;
}

/* One page; what it has is appended to found. */
static bool ask_page(Request *req, Cancel *cancel, bool last_host, GPtrArray *found, char **ret_next,
                     GError **error)
{
	request_header(req, "Accept", MEDIA_TYPE_OCI_INDEX ", */*");
	g_autoptr(HttpResponse) resp = request_do(req, cancel, last_host, NULL, error);
	if (resp == NULL)
		return false;
	if (http_status(resp) == 404) {
		g_autofree char *url = url_redact(req->url);
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "content at %s not found", url);
	}
	if (http_status(resp) > 299)
		return registry_error_response(resp, NULL, error);
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!http_body_all(resp, (size_t)REMOTE_MANIFEST_MAX, &data, &len, error))
		return error_prefix(error, "referrers index");
	g_autoptr(Index) index = index_parse(data, len, MEDIA_TYPE_OCI_INDEX, error);
	if (index == NULL)
		return error_prefix(error, "failed to decode referrers index");
	if (found->len + index->manifests->len > INDEX_MANIFESTS_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED, "more than %d referrers",
		                 INDEX_MANIFESTS_MAX);
	g_ptr_array_extend_and_steal(found, g_steal_pointer(&index->manifests));
	*ret_next = next_page(resp);
	return true;
}

/* All pages. The first request tells whether the host has the API at all. */
static bool ask(Request *first, Cancel *cancel, bool last_host, GPtrArray **ret, GError **error)
{
	g_autoptr(GPtrArray) found = descriptors_new();
	g_autofree char *next = NULL;
	if (!ask_page(first, cancel, last_host, found, &next, error))
		return false;
	for (int page = 1; next != NULL; page++) {
		if (page >= PAGES_MAX)
			return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
			                 "more than %d pages of referrers", PAGES_MAX);
		g_autofree char *url = g_steal_pointer(&next);
		g_autofree char *origin = url_origin(url), *own = url_origin(first->url);
		if (!g_str_equal(origin, own))
			return error_set(error, CTRD_ERR_UNKNOWN, "referrers go on at another host: %s",
			                 origin);
		g_autoptr(Request) req = request_new_url(first->resolver, first->host, "GET", url);
		request_scope(req, first->resolver->scope_pull);
		if (!ask_page(req, cancel, last_host, found, &next, error))
			return false;
	}
	*ret = g_steal_pointer(&found);
	return true;
}

/* Registries may filter, and need not. */
static void keep_types(GPtrArray *referrers, const char *const *types)
{
	for (guint i = referrers->len; types != NULL && types[0] != NULL && i > 0; i--) {
		const char *type = ((Descriptor *)referrers->pdata[i - 1])->artifact_type;
		if (type == NULL || !g_strv_contains(types, type))
			g_ptr_array_remove_index(referrers, i - 1);
	}
}

static Request *api_request(Resolver *r, RegistryHost *host, const char *digest, const char *const *types)
{
	const char *const parts[] = {"referrers", digest, NULL};
	Request *req = request_new(r, host, "GET", parts);
	for (size_t i = 0; types != NULL && types[i] != NULL; i++) {
		g_autofree char *escaped = url_query_escape(types[i]);
		g_autofree char *query = g_strconcat("artifactType=", escaped, NULL);
		g_autofree char *plain = req->url;
		req->url = url_add_query(plain, query);
	}
	request_scope(req, r->scope_pull);
	return req;
}

/* "sha256-<hex>": where clients put the list on registries that do not have the API. */
static Request *tag_request(Resolver *r, RegistryHost *host, const char *digest)
{
	g_autofree char *tag = g_strdelimit(g_strdup(digest), ":", '-');
	const char *const parts[] = {"manifests", tag, NULL};
	Request *req = request_new(r, host, "GET", parts);
	request_scope(req, r->scope_pull);
	return req;
}

typedef struct {
	Resolver *r;
	Cancel *cancel;
	const char *digest;
	const char *const *types;
	GPtrArray *found;
	GError *first; // that was not "not found"
} Search;

/* Asks one host after the other. true: an answer, where found is still NULL: there are none. */
static bool search(Search *s, GPtrArray *hosts, bool by_tag)
{
	for (guint i = 0; i < hosts->len; i++) {
		RegistryHost *host = hosts->pdata[i];
		g_autoptr(Request) req = by_tag ? tag_request(s->r, host, s->digest)
		                                : api_request(s->r, host, s->digest, s->types);
		g_autoptr(GError) e = NULL;
		if (ask(req, s->cancel, i + 1 == hosts->len, &s->found, &e))
			return true;
		if (error_is(e, CTRD_ERR_NOT_FOUND)) {
			if (by_tag) // nobody ever referred to it
				return true;
			continue;
		}
		log_debug("failed to fetch referrers", "host", host->host, "error", e->message, NULL);
		if (s->first == NULL)
			s->first = g_steal_pointer(&e);
	}
	return false;
}

GPtrArray *resolver_referrers(Resolver *r, Cancel *cancel, const char *digest, const char *const *types,
                              GError **error)
{
	if (!digest_validate(digest, error))
		return NULL;
	g_autoptr(GPtrArray) hosts = resolver_hosts_with(r, REGISTRY_REFERRERS);
	g_autoptr(GPtrArray) fallback =
	        hosts->len > 0 ? g_ptr_array_ref(hosts) : resolver_hosts_with(r, REGISTRY_RESOLVE);
	if (fallback->len == 0) {
		error_set_class(error, CTRD_ERR_NOT_FOUND, "no referrers hosts");
		return NULL;
	}
	Search s = {.r = r, .cancel = cancel, .digest = digest, .types = types};
	bool answered = search(&s, hosts, false) || search(&s, fallback, true);
	if (!answered) {
		g_propagate_error(error, s.first);
		return NULL;
	}
	g_clear_error(&s.first);
	if (s.found == NULL)
		return descriptors_new();
	keep_types(s.found, types);
	return s.found;
}
