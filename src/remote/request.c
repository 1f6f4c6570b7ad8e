// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "remote/registry-error.h"
#include "remote/resolver-private.h"
#include "remote/url.h"
#include <string.h>

enum {
	ATTEMPTS_MAX = 5,
	TIMEOUTS_MAX = 2, // of them: they take long enough
	REDIRECTS_MAX = 10,
	RETRY_AFTER_MAX = 30, // seconds
};

static char *host_url(Resolver *r, RegistryHost *host, const char *const *parts)
{
	g_autoptr(GString) path = g_string_new("/");
	g_string_append_printf(path, "%s/%s", host->path, r->repository);
	const char *last = "";
	for (size_t i = 0; parts[i] != NULL; i++) {
		g_string_append_printf(path, "/%s", parts[i]);
		last = parts[i];
	}
	g_autofree char *clean = path_clean(path->str);
	g_autofree char *escaped = url_path_escape(clean);
	g_autofree char *url = g_strconcat(atomic_load(&host->fell_back) ? "http" : host->scheme, "://",
	                                   host->host, escaped, g_str_has_suffix(last, "/") ? "/" : "", NULL);
	if (!registry_host_is_proxy(host, r->name))
		return g_steal_pointer(&url);
	g_autofree char *name = url_query_escape(r->name);
	g_autofree char *query = g_strconcat("ns=", name, NULL);
	return url_add_query(url, query);
}

Request *request_new_url(Resolver *r, RegistryHost *host, const char *method, const char *url)
{
	Request *req = g_new0(Request, 1);
	req->resolver = r;
	req->host = host;
	req->method = g_strdup(method);
	req->url = g_strdup(url);
	req->headers = g_ptr_array_new_with_free_func(g_free);
	return req;
}

Request *request_new(Resolver *r, RegistryHost *host, const char *method, const char *const *parts)
{
	g_autofree char *url = host_url(r, host, parts);
	return request_new_url(r, host, method, url);
}

void request_free(Request *req)
{
	if (req == NULL)
		return;
	g_free(req->method);
	g_free(req->url);
	g_ptr_array_unref(req->headers);
	g_strfreev(req->scopes);
	g_free(req);
}

void request_header(Request *req, const char *name, const char *value)
{
	g_ptr_array_add(req->headers, g_strdup_printf("%s: %s", name, value));
}

void request_scope(Request *req, const char *scope)
{
	guint n = req->scopes != NULL ? g_strv_length(req->scopes) : 0;
	req->scopes = g_renew(char *, req->scopes, n + 2);
	req->scopes[n] = g_strdup(scope);
	req->scopes[n + 1] = NULL;
}

static bool has_header(GPtrArray *headers, const char *name)
{
	size_t len = strlen(name);
	for (guint i = 0; i < headers->len; i++)
		if (g_ascii_strncasecmp(headers->pdata[i], name, len) == 0 &&
		    ((char *)headers->pdata[i])[len] == ':')
			return true;
	return false;
}

/* A configured Authorization gives way to the one that was asked for. */
static void add_configured(GPtrArray *all, char **lines, bool authorized)
{
	for (size_t i = 0; lines != NULL && lines[i] != NULL; i++)
		if (!authorized || g_ascii_strncasecmp(lines[i], "Authorization:", 14) != 0)
			g_ptr_array_add(all, lines[i]);
}

/* The lines to send to url; configured ones only go to the host they are configured for. */
static GPtrArray *headers_for(Request *req, const char *url, const char *authorization)
{
	GPtrArray *all = g_ptr_array_new();
	g_autofree char *own = url_host(req->url);
	g_autofree char *target = url_host(url);
	g_autofree char *own_scheme = url_scheme(req->url);
	g_autofree char *scheme = url_scheme(url);
	bool same = g_str_equal(own, target) && g_str_equal(own_scheme, scheme);
	for (guint i = 0; i < req->headers->len; i++)
		g_ptr_array_add(all, req->headers->pdata[i]);
	if (same && !req->plain_headers) {
		add_configured(all, req->resolver->headers, authorization != NULL);
		add_configured(all, req->host->headers, authorization != NULL);
	}
	if (!has_header(all, "User-Agent"))
		g_ptr_array_add(all, (char *)"User-Agent: containerd/" CTRD_VERSION);
	if (authorization != NULL)
		g_ptr_array_add(all, (char *)authorization);
	g_ptr_array_add(all, NULL);
	return all;
}

/* ---- One request with its redirects ---- */

typedef struct {
	Request *req;
	Cancel *cancel;
	HttpFailure failure;
	bool authorizing; // no request was sent: there was no token
} Send;

static HttpResponse *send_once(Send *s, const char *method, const char *url, bool body, GError **error)
{
	Request *req = s->req;
	g_autofree char *authorization = NULL;
	g_autofree char *origin = url_origin(url);
	g_autofree char *value = NULL;
	if (!req->plain_headers && !authorizer_authorize(req->host->authorizer, s->cancel, origin,
	                                                 (const char *const *)req->scopes, &value, error)) {
		s->failure = HTTP_FAILED;
		s->authorizing = true;
		return NULL;
	}
	if (value != NULL)
		authorization = g_strconcat("Authorization: ", value, NULL);
	g_autoptr(GPtrArray) headers = headers_for(req, url, authorization);
	HttpRequest http = {
	        .method = method,
	        .url = url,
	        .headers = (const char *const *)headers->pdata,
	        .tls = req->host->tls,
	        .dial_timeout_ns = req->host->dial_timeout_ns,
	        .body = body ? req->body : NULL,
	        .body_data = req->body_data,
	        .body_size = req->body_size,
	        .trace = req->resolver->trace,
	};
	return http_do(req->resolver->http, &http, s->cancel, &s->failure, error);
}

static bool is_redirect(HttpResponse *resp)
{
	switch (http_status(resp)) {
	case 301:
	case 302:
	case 303:
	case 307:
	case 308:
		return !str_empty(http_header(resp, "Location"));
	default:
		return false;
	}
}

static HttpResponse *send_following(Send *s, GError **error)
{
	g_autofree char *method = g_strdup(s->req->method);
	g_autofree char *url = g_strdup(s->req->url);
	bool body = s->req->body != NULL;
	for (int n = 0;; n++) {
		g_autoptr(HttpResponse) resp = send_once(s, method, url, body, error);
		if (resp == NULL)
			return NULL;
		if (!is_redirect(resp))
			return g_steal_pointer(&resp);
		g_autofree char *next = url_resolve(url, http_header(resp, "Location"));
		g_autofree char *op = g_ascii_strdown(method, -1);
		op[0] = g_ascii_toupper(op[0]);
		g_autofree char *shown = url_redact(next != NULL ? next : http_header(resp, "Location"));
		g_autofree char *quoted = go_quote(shown);
		s->failure = HTTP_FAILED;
		if (next == NULL) {
			error_set(error, CTRD_ERR_UNKNOWN, "%s %s: failed to parse Location header", op,
			          quoted);
			return NULL;
		}
		if (n + 1 >= REDIRECTS_MAX) {
			error_set(error, CTRD_ERR_UNKNOWN, "%s %s: stopped after %d redirects", op, quoted,
			          REDIRECTS_MAX);
			return NULL;
		}
		if (g_str_has_prefix(url, "https:") && g_str_has_prefix(next, "http:") &&
		    !s->req->by_digest) {
			error_set(error, CTRD_ERR_UNKNOWN,
			          "%s %s: refused to be redirected from https to http", op, quoted);
			return NULL;
		}
		int status = http_status(resp);
		if (status != 307 && status != 308 && !g_str_equal(method, "GET") &&
		    !g_str_equal(method, "HEAD")) {
			g_free(method);
			method = g_strdup("GET");
			body = false;
		}
		g_free(url);
		url = g_steal_pointer(&next);
	}
}

/* ---- Retries ---- */

/* The host speaks http after all: from here on that is its scheme, for all requests. */
static void fall_back(Request *req)
{
	atomic_store(&req->host->fell_back, true);
	g_autofree char *rest = g_strdup(req->url + strlen("https"));
	g_free(req->url);
	req->url = g_strconcat("http", rest, NULL);
}

static bool may_fall_back(const Request *req, HttpFailure failure)
{
	if (!req->host->http_fallback || !g_str_has_prefix(req->url, "https:"))
		return false;
	if (failure == HTTP_PLAIN_PEER)
		return true;
	g_autofree char *host = url_host(req->url);
	bool port = strrchr(host, ':') != NULL && !g_str_has_suffix(host, "]");
	return (failure == HTTP_CONNECT || failure == HTTP_TIMEOUT) && !port;
}

static int64_t retry_delay(HttpResponse *resp, int attempt)
{
	int64_t seconds = 0;
	const char *after = http_header(resp, "Retry-After");
	if (after != NULL && parse_i64(after, &seconds) && seconds > 0)
		return MIN(seconds, RETRY_AFTER_MAX) * NS_PER_SEC;
	return (50 * NS_PER_MS) << MIN(attempt, 6);
}

/* Is another request worth it? */
static bool wants_retry(Request *req, HttpResponse *resp, int previous_status, Cancel *cancel, bool last_host,
                        bool *ret_wait, GError **error)
{
	*ret_wait = false;
	int status = http_status(resp);
	switch (status) {
	case 401:
		return authorizer_challenged(req->host->authorizer, cancel, resp, previous_status == 401,
		                             &req->denied, error);
	case 405:
		if (!g_str_equal(req->method, "HEAD") || strstr(req->url, "/manifests/") == NULL)
			return false;
		g_free(req->method);
		req->method = g_strdup("GET");
		return true;
	case 408:
	case 429:
		*ret_wait = true;
		return true;
	case 500:
	case 502:
	case 503:
	case 504:
		*ret_wait = true;
		return last_host;
	default:
		return false;
	}
}

HttpResponse *request_do(Request *req, Cancel *cancel, bool last_host, HttpFailure *ret_failure,
                         GError **error)
{
	Send s = {.req = req, .cancel = cancel};
	int previous_status = 0, timeouts = 0;
	req->denied = false;
	if (req->host->broken != NULL) {
		if (ret_failure != NULL)
			*ret_failure = HTTP_FAILED;
		g_propagate_error(error, g_error_copy(req->host->broken));
		return NULL;
	}
	for (int attempt = 0;; attempt++) {
		g_autoptr(GError) e = NULL;
		s.failure = HTTP_OK;
		s.authorizing = false;
		g_autoptr(HttpResponse) resp = send_following(&s, &e);
		if (ret_failure != NULL)
			*ret_failure = s.failure;
		bool more = attempt + 1 < ATTEMPTS_MAX;
		if (resp == NULL) {
			if (may_fall_back(req, s.failure)) {
				fall_back(req);
				continue;
			}
			timeouts += s.failure == HTTP_TIMEOUT;
			bool transient = s.failure == HTTP_CLOSED ||
			                 (s.failure == HTTP_TIMEOUT && timeouts < TIMEOUTS_MAX);
			if (more && last_host && transient && req->body == NULL) {
				if (!cancel_sleep(cancel, (50 * NS_PER_MS) << attempt, error))
					return NULL;
				continue;
			}
			error_prefix(&e, s.authorizing ? "failed to authorize" : "failed to do request");
			g_propagate_error(error, g_steal_pointer(&e));
			return NULL;
		}
		bool wait = false;
		bool retry = wants_retry(req, resp, previous_status, cancel, last_host, &wait, &e);
		if (e != NULL) {
			g_propagate_error(error, g_steal_pointer(&e));
			return NULL;
		}
		if (!retry || !more)
			return g_steal_pointer(&resp);
		previous_status = http_status(resp);
		if (wait && !cancel_sleep(cancel, retry_delay(resp, attempt), error))
			return NULL;
	}
}

bool request_error_with_body(Request *head, HttpResponse *answer, Cancel *cancel, GError **error)
{
	if (http_status(answer) != 403 || !g_str_equal(head->method, "HEAD"))
		return registry_error_response(answer, NULL, error);
	g_autoptr(Request) get = request_new_url(head->resolver, head->host, "GET", head->url);
	for (guint i = 0; i < head->headers->len; i++)
		g_ptr_array_add(get->headers, g_strdup(head->headers->pdata[i]));
	get->scopes = g_strdupv(head->scopes);
	get->by_digest = head->by_digest;
	g_autoptr(HttpResponse) resp = request_do(get, cancel, false, NULL, NULL);
	if (resp == NULL || http_status(resp) != 403)
		return registry_error_response(answer, NULL, error);
	g_autofree char *body = http_body_head(resp, REGISTRY_ERROR_BODY_MAX, NULL);
	return registry_error_response(answer, body, error);
}
