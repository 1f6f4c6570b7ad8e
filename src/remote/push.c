// SPDX-License-Identifier: Apache-2.0
/* Uploads (upstream core/remotes/docker/pusher.go). */
#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "oci/labels.h"
#include "oci/media-types.h"
#include "remote/registry-error.h"
#include "remote/resolver-private.h"
#include "remote/url.h"
#include <string.h>

typedef struct {
	Resolver *r;
	Cancel *cancel;
	const Descriptor *desc;
	RegistryHost *host;
	PushSource source;
	void *data;
	bool exists;
} Push;

static Request *push_request(Push *p, const char *method, const char *const *parts)
{
	Request *req = request_new(p->r, p->host, method, parts);
	request_scope(req, p->r->scope_push);
	return req;
}

/* Under its tag, unless the reference names another digest. NULL: under the digest. */
static const char *manifest_name(Push *p, char **storage)
{
	const char *object = p->r->spec.object;
	const char *at = strchr(object, '@');
	if (at != NULL)
		*storage = g_str_equal(at + 1, p->desc->digest) ? g_strndup(object, (size_t)(at - object))
		                                                : g_strdup("");
	else
		*storage = g_strdup(object);
	return **storage != '\0' ? *storage : p->desc->digest;
}

static bool check_exists(Push *p, const char *const *parts, bool by_tag, GError **error)
{
	g_autoptr(Request) req = push_request(p, "HEAD", parts);
	g_autofree char *accept = g_strconcat(p->desc->media_type, ", */*", NULL);
	request_header(req, "Accept", accept);
	req->by_digest = !by_tag;
	g_autoptr(GError) e = NULL;
	g_autoptr(HttpResponse) resp = request_do(req, p->cancel, true, NULL, &e);
	if (resp == NULL) {
		if (req->denied) // may write though it may not read
			return true;
		g_propagate_error(error, g_steal_pointer(&e));
		return false;
	}
	switch (http_status(resp)) {
	case 200:
		p->exists = !by_tag ||
		            g_strcmp0(http_header(resp, "Docker-Content-Digest"), p->desc->digest) == 0;
		return true;
	case 404:
		return true;
	default:
		return request_error_with_body(req, resp, p->cancel, error);
	}
}

static unsigned common_components(char *const *a, const char *b)
{
	g_auto(GStrv) parts = g_strsplit(b, "/", -1);
	unsigned n = 0;
	while (a[n] != NULL && parts[n] != NULL && g_str_equal(a[n], parts[n]))
		n++;
	return n;
}

/* The repository on the same registry that is nearest to ours by name. */
static char *mount_candidate(Push *p)
{
	g_autofree char *name = g_strndup(p->r->name, strcspn(p->r->name, ":"));
	g_autofree char *key = g_strconcat(LABEL_DISTRIBUTION_SOURCE, ".", name, NULL);
	const char *label = descriptor_annotation(p->desc, key);
	if (str_empty(label))
		return NULL;
	const char *target = ref_spec_path(&p->r->spec);
	g_auto(GStrv) components = g_strsplit(target, "/", -1);
	g_auto(GStrv) repos = g_strsplit(label, ",", -1);
	const char *best = NULL;
	unsigned most = 0;
	for (size_t i = 0; repos[i] != NULL; i++) {
		unsigned n = common_components(components, repos[i]);
		if (!g_str_equal(repos[i], target) && *repos[i] != '\0' && n >= most) {
			best = repos[i];
			most = n;
		}
	}
	return g_strdup(best);
}

/* Starts an upload; the answer says where to, or that it is there by mounting. */
static HttpResponse *start_upload(Push *p, GError **error)
{
	const char *const parts[] = {"blobs", "uploads/", NULL};
	g_autofree char *from = mount_candidate(p);
	if (from != NULL) {
		g_autoptr(Request) req = push_request(p, "POST", parts);
		g_autofree char *scope = g_strdup_printf("repository:%s:pull", from);
		g_autofree char *query = g_strdup_printf("mount=%s&from=%s", p->desc->digest, from);
		g_autofree char *plain = req->url;
		req->url = url_add_query(plain, query);
		request_scope(req, scope);
		g_autoptr(GError) e = NULL;
		g_autoptr(HttpResponse) resp = request_do(req, p->cancel, true, NULL, &e);
		if (resp == NULL && !req->denied) {
			error_prefix(&e, "pushing with mount from %s", from);
			g_propagate_error(error, g_steal_pointer(&e));
			return NULL;
		}
		if (resp != NULL && http_status(resp) != 401)
			return g_steal_pointer(&resp);
	}
	g_autoptr(Request) req = push_request(p, "POST", parts);
	g_autoptr(HttpResponse) resp = request_do(req, p->cancel, true, NULL, error);
	if (resp == NULL && req->denied)
		error_prefix(error,
		             "push access denied, repository does not exist or may require authorization");
	return g_steal_pointer(&resp);
}

/* The place of the upload may be on another host: that one gets neither credentials nor our headers. */
static Request *upload_request(Push *p, HttpResponse *started, RegistryHost **ret_host, GError **error)
{
	const char *location = str_or(http_header(started, "Location"), "");
	g_autofree char *absolute = NULL;
	if (*location != '/' && strstr(location, "://") == NULL)
		absolute = g_strconcat(p->host->scheme, "://", location, NULL);
	g_autofree char *url = url_resolve(http_url(started), absolute != NULL ? absolute : location);
	if (url == NULL) {
		error_set(error, CTRD_ERR_UNKNOWN, "unable to parse location %s", location);
		return NULL;
	}
	g_autofree char *digest = url_query_escape(p->desc->digest);
	g_autofree char *query = g_strconcat("digest=", digest, NULL);
	g_autofree char *target = url_add_query(url, query);
	g_autofree char *origin = url_origin(target), *asked = url_origin(http_url(started));
	RegistryHost *host = p->host;
	bool same = g_str_equal(origin, asked);
	if (!same) {
		g_autofree char *scheme = url_scheme(target), *name = url_host(target);
		host = *ret_host = registry_host_new(scheme, name, "", REGISTRY_PUSH);
		host->tls = http_tls_ref(p->host->tls);
	}
	Request *req = request_new_url(p->r, host, "PUT", target);
	req->plain_headers = !same;
	request_scope(req, p->r->scope_push);
	request_header(req, "Content-Type", "application/octet-stream");
	return req;
}

static bool send_content(Push *p, Request *req, GError **error)
{
	req->body = p->source;
	req->body_data = p->data;
	req->body_size = p->desc->size;
	g_autoptr(HttpResponse) resp = request_do(req, p->cancel, true, NULL, error);
	if (resp == NULL)
		return false;
	switch (http_status(resp)) {
	case 200:
	case 201:
	case 202:
	case 204:
		break;
	default:
		return registry_error_response(resp, NULL, error);
	}
	const char *said = http_header(resp, "Docker-Content-Digest");
	if (said == NULL)
		return true;
	if (!digest_validate(said, error))
		return error_prefix(error, "invalid content digest in response");
	if (!g_str_equal(said, p->desc->digest))
		return error_set(error, CTRD_ERR_UNKNOWN, "got digest %s, expected %s", said,
		                 p->desc->digest);
	return true;
}

static bool push_blob(Push *p, GError **error)
{
	g_autoptr(HttpResponse) started = start_upload(p, error);
	if (started == NULL)
		return false;
	switch (http_status(started)) {
	case 200:
	case 202:
	case 204:
		break;
	case 201:
		p->exists = true; // mounted
		return true;
	default:
		return registry_error_response(started, NULL, error);
	}
	g_autoptr(RegistryHost) other = NULL;
	g_autoptr(Request) req = upload_request(p, started, &other, error);
	return req != NULL && send_content(p, req, error);
}

bool resolver_push(Resolver *r, Cancel *cancel, const Descriptor *desc, PushSource source, void *data,
                   bool *ret_exists, GError **error)
{
	*ret_exists = false;
	if (!digest_validate(desc->digest, error))
		return false;
	Push p = {.r = r, .cancel = cancel, .desc = desc, .source = source, .data = data};
	for (guint i = 0; i < r->hosts->len && p.host == NULL; i++)
		if (((RegistryHost *)r->hosts->pdata[i])->capabilities & REGISTRY_PUSH)
			p.host = r->hosts->pdata[i];
	if (p.host == NULL)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "no push hosts");
	bool manifest = media_type_is_manifest(desc->media_type) || media_type_is_index(desc->media_type);
	g_autofree char *storage = NULL;
	const char *name = manifest ? manifest_name(&p, &storage) : desc->digest;
	const char *const parts[] = {manifest ? "manifests" : "blobs", name, NULL};
	if (!check_exists(&p, parts, !g_str_equal(name, desc->digest), error))
		return false;
	if (!p.exists && manifest) {
		g_autoptr(Request) req = push_request(&p, "PUT", parts);
		request_header(req, "Content-Type", desc->media_type);
		if (!send_content(&p, req, error))
			return false;
	} else if (!p.exists && !push_blob(&p, error)) {
		return false;
	}
	*ret_exists = p.exists;
	return true;
}
