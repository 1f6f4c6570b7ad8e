// SPDX-License-Identifier: Apache-2.0
/* Uploads (upstream core/remotes/docker/pusher.go). */
#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "oci/labels.h"
#include "oci/media-types.h"
#include "remote/registry-error.h"
#include "remote/resolver-private.h"
#include "remote/url.h"
#include <inttypes.h>
#include <string.h>

enum {
	UPLOADS_MAX = 5,  // of one blob, where they break
	TIMEOUTS_MAX = 2, // of them: they take long enough
};

typedef struct {
	Resolver *r;
	Cancel *cancel;
	const Descriptor *desc;
	RegistryHost *host;
	PushSource source;
	void *data;
	bool exists;
	unsigned timeouts; // so far
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

/* Where an upload is to be sent, and how much of it is there. */
typedef struct {
	char *url; // NULL: none was begun
	RegistryHost
	        *host; // owned where it is not the push's own: another host, without credentials and headers
	bool elsewhere;
	int64_t offset;
} Upload;

static void upload_clear(Upload *u)
{
	g_clear_pointer(&u->url, g_free);
	if (u->elsewhere)
		registry_host_free(u->host);
	*u = (Upload){0};
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Upload, upload_clear)

/* From the Location of an answer; without one the place stays. */
static bool upload_located(Push *p, HttpResponse *resp, Upload *u, GError **error)
{
	const char *location = str_or(http_header(resp, "Location"), "");
	if (*location == '\0' && u->url != NULL)
		return true;
	g_autofree char *absolute = NULL;
	if (*location != '/' && strstr(location, "://") == NULL)
		absolute = g_strconcat(p->host->scheme, "://", location, NULL);
	g_autofree char *url = url_resolve(http_url(resp), absolute != NULL ? absolute : location);
	if (url == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "unable to parse location %s", location);
	g_autofree char *origin = url_origin(url), *asked = url_origin(http_url(resp));
	int64_t offset = u->offset;
	bool moved = !g_str_equal(origin, asked), kept = u->elsewhere && !moved;
	RegistryHost *host = kept ? g_steal_pointer(&u->host) : p->host;
	u->elsewhere = u->elsewhere && !kept;
	upload_clear(u);
	if (moved) {
		g_autofree char *scheme = url_scheme(url), *name = url_host(url);
		host = registry_host_new(scheme, name, "", REGISTRY_PUSH);
		host->tls = http_tls_ref(p->host->tls);
	}
	*u = (Upload){
	        .host = host, .elsewhere = moved || kept, .offset = offset, .url = g_steal_pointer(&url)};
	return true;
}

static Request *upload_request(Push *p, const Upload *u, const char *method, const char *url)
{
	Request *req = request_new_url(p->r, u->host, method, url);
	req->plain_headers = u->elsewhere;
	request_scope(req, p->r->scope_push);
	return req;
}

static bool check_stored(Push *p, HttpResponse *resp, GError **error)
{
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

/* Is another try worth it? */
static bool is_broken(Push *p, HttpFailure failure)
{
	p->timeouts += failure == HTTP_TIMEOUT;
	return failure == HTTP_CLOSED || failure == HTTP_CONNECT ||
	       (failure == HTTP_TIMEOUT && p->timeouts < TIMEOUTS_MAX);
}

/* ret_broken: the connection ended before there was an answer. */
static bool send_content(Push *p, Request *req, bool *ret_broken, GError **error)
{
	req->body = p->source;
	req->body_data = p->data;
	req->body_size = p->desc->size;
	HttpFailure failure = HTTP_OK;
	g_autoptr(HttpResponse) resp = request_do(req, p->cancel, true, &failure, error);
	*ret_broken = resp == NULL && is_broken(p, failure);
	return resp != NULL && check_stored(p, resp, error);
}

static char *finish_url(Push *p, const Upload *u)
{
	g_autofree char *digest = url_query_escape(p->desc->digest);
	g_autofree char *query = g_strconcat("digest=", digest, NULL);
	return url_add_query(u->url, query);
}

static bool put_all(Push *p, Upload *u, bool *ret_broken, GError **error)
{
	g_autofree char *url = finish_url(p, u);
	g_autoptr(Request) req = upload_request(p, u, "PUT", url);
	request_header(req, "Content-Type", "application/octet-stream");
	return send_content(p, req, ret_broken, error);
}

typedef struct {
	Push *p;
	int64_t start;
} Rest;

static ssize_t rest_source(void *data, void *buf, size_t len, int64_t offset, GError **error)
{
	Rest *rest = data;
	return rest->p->source(rest->p->data, buf, len, rest->start + offset, error);
}

/* What is missing after offset, and then that it was all. */
static bool patch_rest(Push *p, Upload *u, bool *ret_broken, GError **error)
{
	HttpFailure failure = HTTP_OK;
	if (u->offset < p->desc->size) {
		g_autoptr(Request) req = upload_request(p, u, "PATCH", u->url);
		Rest rest = {.p = p, .start = u->offset};
		req->body = rest_source;
		req->body_data = &rest;
		req->body_size = p->desc->size - u->offset;
		g_autofree char *range =
		        g_strdup_printf("%" PRId64 "-%" PRId64, u->offset, p->desc->size - 1);
		request_header(req, "Content-Type", "application/octet-stream");
		request_header(req, "Content-Range", range);
		g_autoptr(HttpResponse) resp = request_do(req, p->cancel, true, &failure, error);
		*ret_broken = resp == NULL && is_broken(p, failure);
		if (resp == NULL)
			return false;
		if (http_status(resp) > 299)
			return registry_error_response(resp, NULL, error);
		if (!upload_located(p, resp, u, error))
			return false;
	}
	g_autofree char *url = finish_url(p, u);
	g_autoptr(Request) req = upload_request(p, u, "PUT", url);
	g_autoptr(HttpResponse) resp = request_do(req, p->cancel, true, &failure, error);
	*ret_broken = resp == NULL && is_broken(p, failure);
	return resp != NULL && check_stored(p, resp, error);
}

/* How much of it arrived ("Range: 0-41" is 42 bytes). false: the registry does not say, it begins anew. */
static bool upload_status(Push *p, Upload *u)
{
	g_autoptr(Request) req = upload_request(p, u, "GET", u->url);
	g_autoptr(HttpResponse) resp = request_do(req, p->cancel, true, NULL, NULL);
	const char *range = resp != NULL && http_status(resp) == 204 ? http_header(resp, "Range") : NULL;
	if (range == NULL)
		return false;
	if (g_str_has_prefix(range, "bytes="))
		range += strlen("bytes=");
	int64_t last = 0;
	if (!g_str_has_prefix(range, "0-") || !parse_i64(range + 2, &last) || last <= 0 ||
	    last >= p->desc->size)
		return false;
	u->offset = last + 1;
	return upload_located(p, resp, u, NULL);
}

static bool begin_upload(Push *p, Upload *u, GError **error)
{
	upload_clear(u);
	g_autoptr(HttpResponse) started = start_upload(p, error);
	if (started == NULL)
		return false;
	switch (http_status(started)) {
	case 200:
	case 202:
	case 204:
		return upload_located(p, started, u, error);
	case 201:
		p->exists = true; // mounted
		return true;
	default:
		return registry_error_response(started, NULL, error);
	}
}

static bool push_blob(Push *p, GError **error)
{
	g_auto(Upload) u = {0};
	bool resumed = false;
	for (int attempt = 0;; attempt++) {
		if (!resumed && !begin_upload(p, &u, error))
			return false;
		if (p->exists)
			return true;
		bool broken = false;
		g_autoptr(GError) e = NULL;
		if (resumed ? patch_rest(p, &u, &broken, &e) : put_all(p, &u, &broken, &e))
			return true;
		/* that it cannot be resumed after all is no reason to give up */
		if ((!broken && !resumed) || attempt + 1 >= UPLOADS_MAX || cancel_is_set(p->cancel)) {
			g_propagate_error(error, g_steal_pointer(&e));
			return false;
		}
		log_debug("upload broke", "digest", p->desc->digest, "error", e->message, NULL);
		if (!cancel_sleep(p->cancel, (50 * NS_PER_MS) << attempt, error))
			return false;
		resumed = broken && upload_status(p, &u);
	}
}

static bool push_manifest(Push *p, const char *const *parts, GError **error)
{
	for (int attempt = 0;; attempt++) {
		g_autoptr(Request) req = push_request(p, "PUT", parts);
		request_header(req, "Content-Type", p->desc->media_type);
		bool broken = false;
		g_autoptr(GError) e = NULL;
		if (send_content(p, req, &broken, &e))
			return true;
		if (!broken || attempt + 1 >= UPLOADS_MAX) {
			g_propagate_error(error, g_steal_pointer(&e));
			return false;
		}
		if (!cancel_sleep(p->cancel, (50 * NS_PER_MS) << attempt, error))
			return false;
	}
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
	if (!p.exists && !(manifest ? push_manifest(&p, parts, error) : push_blob(&p, error)))
		return false;
	*ret_exists = p.exists;
	return true;
}
