// SPDX-License-Identifier: Apache-2.0
#include "remote/auth.h"
#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/lock.h"
#include "remote/challenge.h"
#include "remote/registry-error.h"
#include "remote/url.h"
#include <stdatomic.h>
#include <string.h>

enum {
	TOKEN_RESPONSE_MAX = 1024 * 1024,
	ERROR_TEXT_MAX = 64, // of what a server says, in our log
};

/* A token for one set of scopes, or its being fetched. */
typedef struct {
	bool busy;
	char *value;     // "Bearer x", NULL: failed
	int64_t expires; // time_mono, 0: never
} Token;

static void token_free(void *p)
{
	Token *t = p;
	g_free(t->value);
	g_free(t);
}

/* How one host wants it. Reference counted: a host's answer may change while a token is fetched. */
typedef struct {
	int refs; // under the authorizer's lock
	ChallengeScheme scheme;
	bool secure; // the registry spoke TLS
	char *realm, *service;
	char **scopes;
	Credentials creds;
	GHashTable *tokens; // scopes joined by blanks -> Token*
} Handler;

struct Authorizer {
	atomic_int refs;
	HttpClient *http;
	HttpTls *tls;
	char **headers;
	char *host;
	bool plain;
	CredentialSources *sources;
	Lock lock;
	Cond changed;
	GHashTable *handlers; // origin -> Handler*
};

static void handler_unref_locked(void *p)
{
	Handler *h = p;
	if (--h->refs > 0)
		return;
	g_free(h->realm);
	g_free(h->service);
	g_strfreev(h->scopes);
	credentials_clear(&h->creds);
	g_hash_table_unref(h->tokens);
	g_free(h);
}

Authorizer *authorizer_new(const AuthorizerOptions *options)
{
	Authorizer *a = g_new0(Authorizer, 1);
	atomic_init(&a->refs, 1);
	a->http = options->http;
	a->tls = http_tls_ref(options->tls);
	a->headers = g_strdupv((char **)options->headers);
	a->host = g_strdup(options->host);
	a->plain = options->plain;
	a->sources = options->sources;
	lock_init(&a->lock, "authorizer", LOCK_RANK_LEAF);
	cond_init(&a->changed);
	a->handlers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, handler_unref_locked);
	return a;
}

Authorizer *authorizer_ref(Authorizer *a)
{
	if (a != NULL)
		atomic_fetch_add(&a->refs, 1);
	return a;
}

void authorizer_unref(Authorizer *a)
{
	if (a == NULL || atomic_fetch_sub(&a->refs, 1) != 1)
		return;
	g_hash_table_unref(a->handlers);
	http_tls_unref(a->tls);
	g_strfreev(a->headers);
	g_free(a->host);
	credential_sources_free(a->sources);
	lock_destroy(&a->lock);
	cond_destroy(&a->changed);
	g_free(a);
}

const CredentialSources *authorizer_sources(const Authorizer *a)
{
	return a != NULL ? a->sources : NULL;
}

/* ---- Token servers ---- */

typedef struct {
	GBytes *bytes;
} FormBody;

static ssize_t form_read(void *data, void *buf, size_t len, int64_t offset, GError **error)
{
	gsize size = 0;
	const char *text = g_bytes_get_data(data, &size);
	size_t n = MIN(len, size - (size_t)offset);
	memcpy(buf, text + offset, n);
	return (ssize_t)n;
}

static void form_add(GString *form, const char *key, const char *value)
{
	g_autofree char *escaped = url_query_escape(value);
	g_string_append_printf(form, "%s%s=%s", form->len > 0 ? "&" : "", key, escaped);
}

/* Configured headers are for the token server too, as upstream has it; but where that is another host, not
 * those that say who we are. */
static bool header_for_realm(const Authorizer *a, const char *line, const char *url)
{
	static const char *const secret[] = {"Authorization:", "Proxy-Authorization:", "Cookie:"};
	g_autofree char *host = url_host(url);
	if (g_ascii_strcasecmp(host, a->host) == 0 && (a->plain || g_str_has_prefix(url, "https:")))
		return true;
	for (size_t i = 0; i < G_N_ELEMENTS(secret); i++)
		if (g_ascii_strncasecmp(line, secret[i], strlen(secret[i])) == 0)
			return false;
	return true;
}

/* One request to the realm. *ret_status: what an unexpected answer was, 0 for other failures. */
static JsonObject *token_request(Authorizer *a, const char *method, const char *url, const char *const *extra,
                                 GBytes *form, Cancel *cancel, int *ret_status, GError **error)
{
	*ret_status = 0;
	g_autoptr(GPtrArray) headers = g_ptr_array_new();
	for (size_t i = 0; extra != NULL && extra[i] != NULL; i++)
		g_ptr_array_add(headers, (char *)extra[i]);
	bool has_agent = false;
	for (size_t i = 0; a->headers != NULL && a->headers[i] != NULL; i++) {
		if (!header_for_realm(a, a->headers[i], url))
			continue;
		has_agent = has_agent || g_ascii_strncasecmp(a->headers[i], "User-Agent:", 11) == 0;
		g_ptr_array_add(headers, a->headers[i]);
	}
	if (!has_agent)
		g_ptr_array_add(headers, (char *)"User-Agent: containerd/" CTRD_VERSION);
	g_ptr_array_add(headers, NULL);
	HttpRequest req = {
	        .method = method,
	        .url = url,
	        .headers = (const char *const *)headers->pdata,
	        .tls = a->tls,
	        .body = form != NULL ? form_read : NULL,
	        .body_data = form,
	        .body_size = form != NULL ? (int64_t)g_bytes_get_size(form) : 0,
	};
	g_autoptr(HttpResponse) resp = http_do(a->http, &req, cancel, NULL, error);
	if (resp == NULL)
		return NULL;
	if (http_status(resp) < 200 || http_status(resp) >= 400) {
		*ret_status = http_status(resp);
		registry_error_status(resp, error);
		return NULL;
	}
	g_autofree char *body = NULL;
	size_t len = 0;
	if (!http_body_all(resp, TOKEN_RESPONSE_MAX, &body, &len, error))
		return NULL;
	JsonObject *o = json_parse(body, len, TOKEN_RESPONSE_MAX, error);
	if (o == NULL)
		error_prefix(error, "unable to decode token response");
	return o;
}

static bool token_take(JsonObject *o, const char *first, const char *second, Token *ret, GError **error)
{
	const char *token = json_get_string(o, first);
	if (str_empty(token) && second != NULL)
		token = json_get_string(o, second);
	if (str_empty(token))
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "authorization server did not include a token in the response");
	if (strpbrk(token, "\r\n") != NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "authorization server sent an invalid token");
	ret->value = g_strdup_printf("Bearer %s", token);
	int64_t seconds = 0;
	if (json_get_int64(o, "expires_in", &seconds) && seconds > 0)
		ret->expires = time_mono() + MIN(seconds, 365 * 24 * 3600) * NS_PER_SEC;
	return true;
}

static bool token_get(Authorizer *a, Handler *h, char *const *scopes, Cancel *cancel, Token *ret,
                      GError **error)
{
	g_autoptr(GString) query = g_string_new(NULL);
	if (!str_empty(h->service))
		form_add(query, "service", h->service);
	for (size_t i = 0; scopes[i] != NULL; i++)
		form_add(query, "scope", scopes[i]);
	g_autofree char *url = url_add_query(h->realm, query->str);
	g_autofree char *basic = NULL;
	if (!str_empty(h->creds.secret)) {
		g_autofree char *pair =
		        g_strdup_printf("%s:%s", str_or(h->creds.username, ""), h->creds.secret);
		g_autofree char *base64 = g_base64_encode((const guchar *)pair, strlen(pair));
		basic = g_strdup_printf("Authorization: Basic %s", base64);
	}
	int status = 0;
	const char *const headers[] = {basic, NULL};
	g_autoptr(JsonObject) o = token_request(a, "GET", url, headers, NULL, cancel, &status, error);
	return o != NULL && token_take(o, "access_token", "token", ret, error);
}

static bool token_post(Authorizer *a, Handler *h, char *const *scopes, Cancel *cancel, Token *ret,
                       int *ret_status, GError **error)
{
	g_autofree char *scope = g_strjoinv(" ", (char **)scopes);
	g_autoptr(GString) form = g_string_new(NULL);
	bool refresh = str_empty(h->creds.username);
	form_add(form, "client_id", "containerd-client");
	form_add(form, "grant_type", refresh ? "refresh_token" : "password");
	if (refresh) {
		form_add(form, "refresh_token", h->creds.secret);
	} else {
		form_add(form, "password", h->creds.secret);
		form_add(form, "username", h->creds.username);
	}
	if (*scope != '\0')
		form_add(form, "scope", scope);
	form_add(form, "service", str_or(h->service, ""));
	g_autoptr(GBytes) body = g_bytes_new(form->str, form->len);
	explicit_bzero(form->str, form->len);
	const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded; charset=utf-8",
	                               NULL};
	g_autoptr(JsonObject) o =
	        token_request(a, "POST", h->realm, headers, body, cancel, ret_status, error);
	return o != NULL && token_take(o, "access_token", NULL, ret, error);
}

static bool token_fetch(Authorizer *a, Handler *h, char *const *scopes, Cancel *cancel, Token *ret,
                        GError **error)
{
	if (str_empty(h->creds.secret)) {
		if (token_get(a, h, scopes, cancel, ret, error))
			return true;
		return error_prefix(error, "failed to fetch anonymous token");
	}
	if (h->secure && g_ascii_strncasecmp(h->realm, "http:", 5) == 0)
		return error_set(
		        error, CTRD_ERR_UNKNOWN,
		        "failed to fetch oauth token: credentials are not sent to %s: the registry uses "
		        "https and its token server plain http",
		        h->realm);
	int status = 0;
	g_autoptr(GError) post_error = NULL;
	if (token_post(a, h, scopes, cancel, ret, &status, &post_error))
		return true;
	/* servers without OAuth2 answer the POST with one of these */
	if ((status == 405 && !str_empty(h->creds.username)) || status == 404 || status == 401 ||
	    status == 400) {
		if (token_get(a, h, scopes, cancel, ret, error))
			return true;
	} else {
		g_propagate_error(error, g_steal_pointer(&post_error));
	}
	return error_prefix(error, "failed to fetch oauth token");
}

/* ---- Answers ---- */

static char **scopes_merge(const char *const *a, char *const *b)
{
	g_autoptr(GHashTable) set = g_hash_table_new(g_str_hash, g_str_equal);
	for (size_t i = 0; a != NULL && a[i] != NULL; i++)
		g_hash_table_add(set, (char *)a[i]);
	for (size_t i = 0; b != NULL && b[i] != NULL; i++)
		if (*b[i] != '\0')
			g_hash_table_add(set, b[i]);
	g_autoptr(GList) keys = g_list_sort(g_hash_table_get_keys(set), (GCompareFunc)strcmp);
	GPtrArray *out = g_ptr_array_new();
	for (GList *l = keys; l != NULL; l = l->next)
		g_ptr_array_add(out, g_strdup(l->data));
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(out, FALSE);
}

static Handler *handler_get(Authorizer *a, const char *origin)
{
	LOCK_SCOPE(&a->lock);
	Handler *h = g_hash_table_lookup(a->handlers, origin);
	if (h != NULL)
		h->refs++;
	return h;
}

static void handler_put(Authorizer *a, Handler *h)
{
	LOCK_SCOPE(&a->lock);
	handler_unref_locked(h);
}

/* The one who finds no token fetches it; who finds it being fetched waits. A failure is only the fetcher's:
 * those who waited try themselves. */
static bool bearer(Authorizer *a, Handler *h, Cancel *cancel, const char *const *scopes, char **ret,
                   GError **error)
{
	g_auto(GStrv) all = scopes_merge(scopes, h->scopes);
	g_autofree char *key = g_strjoinv(" ", all);
	for (;;) {
		{
			LOCK_SCOPE(&a->lock);
			Token *t = g_hash_table_lookup(h->tokens, key);
			if (t == NULL) {
				t = g_new0(Token, 1);
				g_hash_table_insert(h->tokens, g_strdup(key), t);
			}
			if (!t->busy) {
				if (t->value != NULL && (t->expires == 0 || t->expires > time_mono())) {
					*ret = g_strdup(t->value);
					return true;
				}
				t->busy = true;
				break;
			}
			cond_wait_until(&a->changed, &a->lock, time_mono() + 200 * NS_PER_MS);
		}
		if (!cancel_check(cancel, error))
			return false;
	}
	Token fetched = {0};
	bool ok = token_fetch(a, h, all, cancel, &fetched, error);
	LOCK_SCOPE(&a->lock);
	Token *t = g_hash_table_lookup(h->tokens, key);
	t->busy = false;
	g_free(t->value);
	t->value = fetched.value;
	t->expires = fetched.expires;
	if (ok)
		*ret = g_strdup(t->value);
	cond_broadcast(&a->changed);
	return ok;
}

bool authorizer_authorize(Authorizer *a, Cancel *cancel, const char *origin, const char *const *scopes,
                          char **ret, GError **error)
{
	*ret = NULL;
	if (a == NULL)
		return true;
	Handler *h = handler_get(a, origin);
	if (h == NULL)
		return true;
	bool ok = true;
	if (!str_empty(h->creds.header)) {
		*ret = g_strdup(h->creds.header);
	} else if (h->scheme == CHALLENGE_BASIC) {
		g_autofree char *pair = g_strdup_printf("%s:%s", h->creds.username, h->creds.secret);
		g_autofree char *base64 = g_base64_encode((const guchar *)pair, strlen(pair));
		*ret = g_strdup_printf("Basic %s", base64);
	} else {
		ok = bearer(a, h, cancel, scopes, ret, error);
	}
	handler_put(a, h);
	return ok;
}

/* Only for whom they are: a host that was reached by a redirect may ask as it likes. */
static bool ask_credentials(Authorizer *a, const char *origin, const char *host, Cancel *cancel,
                            Credentials *ret, GError **error)
{
	if (g_ascii_strcasecmp(host, a->host) != 0 || (!a->plain && !g_str_has_prefix(origin, "https:")))
		return true;
	return credentials_find(a->sources, host, cancel, ret, error);
}

static void handler_set(Authorizer *a, const char *origin, Handler *h)
{
	LOCK_SCOPE(&a->lock);
	g_hash_table_insert(a->handlers, g_strdup(origin), h);
}

static Handler *handler_new(ChallengeScheme scheme, Credentials *creds)
{
	Handler *h = g_new0(Handler, 1);
	h->refs = 1;
	h->scheme = scheme;
	h->creds = *creds;
	*creds = (Credentials){0};
	h->tokens = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, token_free);
	return h;
}

static bool bearer_challenged(Authorizer *a, Cancel *cancel, const Challenge *c, const char *origin,
                              const char *host, bool repeated, bool *ret_denied, GError **error)
{
	const char *server_error = strmap_get(c->params, "error");
	if (!str_empty(server_error)) {
		{
			LOCK_SCOPE(&a->lock);
			g_hash_table_remove(a->handlers, origin);
		}
		if (repeated) {
			*ret_denied = true;
			return error_set(error, CTRD_ERR_UNKNOWN, "server message: %s: authorization failed",
			                 server_error);
		}
	} else {
		/* One registry has one realm; only the scopes differ, and each request brings its own. */
		LOCK_SCOPE(&a->lock);
		if (g_hash_table_contains(a->handlers, origin))
			return true;
	}
	const char *realm = strmap_get(c->params, "realm");
	if (realm == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "no realm specified for token auth challenge");
	if (!url_is_http(realm))
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid token auth challenge realm: %s", realm);
	g_auto(Credentials) creds = {0};
	if (!ask_credentials(a, origin, host, cancel, &creds, error))
		return false;
	Handler *h = handler_new(CHALLENGE_BEARER, &creds);
	h->secure = g_str_has_prefix(origin, "https:");
	h->realm = g_strdup(realm);
	h->service = g_strdup(strmap_get(c->params, "service"));
	h->scopes = g_strsplit(str_or(strmap_get(c->params, "scope"), ""), " ", -1);
	handler_set(a, origin, h);
	return true;
}

bool authorizer_challenged(Authorizer *a, Cancel *cancel, HttpResponse *response, bool repeated,
                           bool *ret_denied, GError **error)
{
	*ret_denied = false;
	if (a == NULL)
		return false;
	g_autofree char *origin = url_origin(http_url(response));
	g_autofree char *host = url_host(http_url(response));
	g_autoptr(GPtrArray) headers = http_header_values(response, "WWW-Authenticate");
	g_autoptr(GPtrArray) challenges = challenges_parse(headers);
	for (guint i = 0; i < challenges->len; i++) {
		const Challenge *c = challenges->pdata[i];
		if (c->scheme == CHALLENGE_BEARER)
			return bearer_challenged(a, cancel, c, origin, host, repeated, ret_denied, error);
		if (c->scheme != CHALLENGE_BASIC || credential_sources_empty(a->sources))
			continue;
		g_auto(Credentials) creds = {0};
		if (!ask_credentials(a, origin, host, cancel, &creds, error))
			return false;
		if (str_empty(creds.header) && (str_empty(creds.username) || str_empty(creds.secret))) {
			*ret_denied = true;
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "authorization failed: no basic auth credentials");
		}
		handler_set(a, origin, handler_new(CHALLENGE_BASIC, &creds));
		return true;
	}
	return false;
}
