// SPDX-License-Identifier: Apache-2.0
/*
 * A connection is an easy handle on a multi handle of its own: the multi handle keeps the sockets, can be
 * woken from other threads (cancel), and lets a request stop between header and body, which
 * curl_easy_perform() cannot. The write callback pauses the transfer until http_body() brings a sink.
 */
#include "remote/http.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "base/util.h"
#include "lazy/bind.h"
#include "loop/lock.h"
#include "remote/proxy.h"
#include "remote/tls-private.h"
#include "remote/url.h"
#include <curl/curl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	IDLE_MAX = 8,                  // connections kept
	HEADER_BYTES_MAX = 256 * 1024, // of one answer, all lines
	RECEIVE_BUFFER = 256 * 1024,   // what one callback brings at most
	ERROR_BODY_DRAIN = 16 * 1024,  // an unread rest up to this is read, to keep the connection
};

/* ---- The client: idle connections, and what they share ---- */

typedef struct {
	CURLM *multi;
	CURL *easy;
	char *origin; // scheme://host:port of its last request, and with which TLS
} Conn;

struct HttpClient {
	HttpLimits limits;
	Lock lock;
	GPtrArray *idle; // of Conn*, the newest last
	CURLSH *share;   // host names and TLS sessions; not connections, that is not safe between threads
	Lock share_locks[CURL_LOCK_DATA_LAST];
};

static void conn_free(Conn *conn)
{
	curl_easy_cleanup(conn->easy);
	curl_multi_cleanup(conn->multi);
	g_free(conn->origin);
	g_free(conn);
}

static void share_lock(CURL *easy, curl_lock_data data, curl_lock_access access, void *user)
{
	HttpClient *client = user;
	lock_acquire(&client->share_locks[data]);
}

static void share_unlock(CURL *easy, curl_lock_data data, void *user)
{
	HttpClient *client = user;
	lock_release(&client->share_locks[data]);
}

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

HttpClient *http_client_new(const HttpLimits *limits, GError **error)
{
	if (lazy_curl_load != NULL && !lazy_curl_load(error))
		return NULL;
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, global_init);
	HttpClient *c = g_new0(HttpClient, 1);
	if (limits != NULL)
		c->limits = *limits;
	if (c->limits.dial_timeout_ns == 0)
		c->limits.dial_timeout_ns = 30 * NS_PER_SEC;
	if (c->limits.response_timeout_ns == 0)
		c->limits.response_timeout_ns = 30 * NS_PER_SEC;
	if (c->limits.stall_timeout_ns == 0)
		c->limits.stall_timeout_ns = 60 * NS_PER_SEC;
	if (c->limits.stall_bytes == 0)
		c->limits.stall_bytes = 4096;
	lock_init(&c->lock, "http-client", LOCK_RANK_LEAF);
	c->idle = g_ptr_array_new();
	for (size_t i = 0; i < G_N_ELEMENTS(c->share_locks); i++)
		lock_init(&c->share_locks[i], "http-share", LOCK_RANK_LEAF + 1 + (int)i);
	c->share = curl_share_init();
	curl_share_setopt(c->share, CURLSHOPT_LOCKFUNC, share_lock);
	curl_share_setopt(c->share, CURLSHOPT_UNLOCKFUNC, share_unlock);
	curl_share_setopt(c->share, CURLSHOPT_USERDATA, c);
	curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	return c;
}

void http_client_free(HttpClient *c)
{
	if (c == NULL)
		return;
	for (guint i = 0; i < c->idle->len; i++)
		conn_free(c->idle->pdata[i]);
	g_ptr_array_unref(c->idle);
	curl_share_cleanup(c->share);
	for (size_t i = 0; i < G_N_ELEMENTS(c->share_locks); i++)
		lock_destroy(&c->share_locks[i]);
	lock_destroy(&c->lock);
	g_free(c);
}

/* One that was connected there last, else any, else a new one. */
static Conn *conn_take(HttpClient *c, const char *origin)
{
	Conn *conn = NULL;
	{
		LOCK_SCOPE(&c->lock);
		for (guint i = c->idle->len; i > 0 && conn == NULL; i--)
			if (g_str_equal(((Conn *)c->idle->pdata[i - 1])->origin, origin))
				conn = g_ptr_array_steal_index(c->idle, i - 1);
	}
	if (conn == NULL) {
		conn = g_new0(Conn, 1);
		conn->multi = curl_multi_init();
		curl_multi_setopt(conn->multi, CURLMOPT_MAXCONNECTS, 2L);
		conn->easy = curl_easy_init();
	}
	g_free(conn->origin);
	conn->origin = g_strdup(origin);
	return conn;
}

static void conn_put(HttpClient *c, Conn *conn)
{
	Conn *oldest = NULL;
	{
		LOCK_SCOPE(&c->lock);
		g_ptr_array_add(c->idle, conn);
		if (c->idle->len > IDLE_MAX)
			oldest = g_ptr_array_steal_index(c->idle, 0);
	}
	if (oldest != NULL)
		conn_free(oldest);
}

/* ---- Responses ---- */

struct HttpResponse {
	HttpClient *client;
	Conn *conn;
	Cancel *cancel;
	unsigned cancel_id;
	char *method, *url;
	struct curl_slist *headers_out;
	char error_buffer[CURL_ERROR_SIZE];

	GPtrArray *headers; // "Name: value" lines of the present block
	size_t header_bytes;
	int status;
	char *status_text;
	bool have_header;

	ByteSink sink;
	void *sink_data;
	bool paused, done, drained;
	CURLcode result;
	GError *failure; // ours: limit, cancel, sink, source
	HttpFailure kind;

	ssize_t (*body)(void *data, void *buf, size_t len, int64_t offset, GError **error);
	void *body_data;
	int64_t body_size, body_offset;

	int64_t dial_timeout;
	int64_t started, sent, window_start, window_bytes;
	const HttpTrace *trace;
};

static bool response_fail(HttpResponse *r, HttpFailure kind, GError *error)
{
	if (r->failure == NULL) {
		r->failure = error;
		r->kind = kind;
	} else {
		g_error_free(error);
	}
	return false;
}

static void window_restart(HttpResponse *r)
{
	r->window_start = time_mono();
	r->window_bytes = 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *user)
{
	HttpResponse *r = user;
	size_t len = size * n;
	size_t text = len;
	while (text > 0 && (data[text - 1] == '\r' || data[text - 1] == '\n'))
		text--;
	if (r->have_header)
		return len; // trailers
	r->header_bytes += len;
	if (r->header_bytes > HEADER_BYTES_MAX) {
		response_fail(r, HTTP_FAILED,
		              g_error_new(CTRD_ERROR, CTRD_ERR_RESOURCE_EXHAUSTED,
		                          "net/http: server response headers exceeded %d bytes; aborted",
		                          HEADER_BYTES_MAX));
		return 0;
	}
	if (text == 0) {
		long status = 0;
		curl_easy_getinfo(r->conn->easy, CURLINFO_RESPONSE_CODE, &status);
		if (status < 200)
			return len; // 1xx: the real one follows
		r->status = (int)status;
		if (r->status_text == NULL)
			r->status_text = g_strdup_printf("%d", r->status);
		r->have_header = true;
		window_restart(r);
		return len;
	}
	g_autofree char *line = g_strndup(data, text);
	if (g_ascii_strncasecmp(line, "HTTP/", 5) == 0) { // curl takes "http/1.1" too
		g_ptr_array_set_size(r->headers, 0);
		const char *space = strchr(line, ' ');
		g_free(r->status_text);
		r->status_text = g_strstrip(g_strdup(space != NULL ? space : ""));
		return len;
	}
	g_ptr_array_add(r->headers, g_steal_pointer(&line));
	return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
	HttpResponse *r = user;
	size_t len = size * n;
	if (r->sink == NULL) {
		r->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	r->window_bytes += (int64_t)len;
	int64_t before = time_mono();
	GError *error = NULL;
	bool ok = r->sink(r->sink_data, data, len, &error);
	r->window_start += time_mono() - before; // the sink's time is not the peer's
	if (!ok) {
		response_fail(r, HTTP_SINK, error);
		return 0;
	}
	return len;
}

static size_t on_read(char *buf, size_t size, size_t n, void *user)
{
	HttpResponse *r = user;
	size_t want = (size_t)MIN((int64_t)(size * n), r->body_size - r->body_offset);
	if (want == 0)
		return 0;
	GError *error = NULL;
	ssize_t got = r->body(r->body_data, buf, want, r->body_offset, &error);
	if (got <= 0) {
		if (error == NULL)
			error_set(&error, CTRD_ERR_UNKNOWN, "unexpected EOF");
		response_fail(r, HTTP_SINK, error);
		return CURL_READFUNC_ABORT;
	}
	r->body_offset += got;
	r->window_bytes += got;
	return (size_t)got;
}

static int on_seek(void *user, curl_off_t offset, int origin)
{
	HttpResponse *r = user;
	if (origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	r->body_offset = offset;
	return CURL_SEEKFUNC_OK;
}

static int on_connected(void *user, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
	HttpResponse *r = user;
	r->sent = time_mono();
	window_restart(r);
	return CURL_PREREQFUNC_OK;
}

static void on_cancel(void *data)
{
	HttpResponse *r = data;
	curl_multi_wakeup(r->conn->multi);
}

/* ---- Go's texts ---- */

static char *host_of(const char *url)
{
	g_autofree char *copy = g_strdup(url);
	char *start = strstr(copy, "://");
	start = start != NULL ? start + 3 : copy;
	start[strcspn(start, "/?#")] = '\0';
	char *at = strrchr(start, '@');
	return g_strdup(at != NULL ? at + 1 : start);
}

static char *peer_of(HttpResponse *r)
{
	char *ip = NULL;
	long port = 0;
	curl_easy_getinfo(r->conn->easy, CURLINFO_PRIMARY_IP, &ip);
	curl_easy_getinfo(r->conn->easy, CURLINFO_PRIMARY_PORT, &port);
	if (str_empty(ip) || port == 0)
		return host_of(r->url);
	return g_strdup_printf(strchr(ip, ':') != NULL ? "[%s]:%ld" : "%s:%ld", ip, port);
}

static const char *verify_text(long result)
{
	switch (result) {
	case 9:
	case 10:
		return "x509: certificate has expired or is not yet valid";
	case 18:
	case 19:
	case 20:
	case 21:
		return "x509: certificate signed by unknown authority";
	default:
		return NULL;
	}
}

/* No request was sent in time: there was no connection, or no TLS on it. */
static char *dial_timeout_text(HttpResponse *r, const char *peer)
{
	char *ip = NULL; // of a peer that is connected
	curl_easy_getinfo(r->conn->easy, CURLINFO_PRIMARY_IP, &ip);
	return !str_empty(ip) && g_str_has_prefix(r->url, "https:")
	               ? g_strdup("net/http: TLS handshake timeout")
	               : g_strdup_printf("dial tcp %s: i/o timeout", peer);
}

/* The cause, and what kind it is. */
static char *curl_cause(HttpResponse *r, HttpFailure *ret_kind)
{
	g_autofree char *peer = peer_of(r);
	const char *detail = r->error_buffer[0] != '\0' ? r->error_buffer : curl_easy_strerror(r->result);
	long os_errno = 0, verify = 0;
	curl_easy_getinfo(r->conn->easy, CURLINFO_OS_ERRNO, &os_errno);
	curl_easy_getinfo(r->conn->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
	g_autofree char *os = os_errno != 0 ? errno_text((int)os_errno) : NULL;
	g_autofree char *host = host_of(r->url);
	*ret_kind = HTTP_FAILED;
	switch (r->result) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY: {
		*ret_kind = HTTP_CONNECT;
		g_autofree char *name = g_strdup(host);
		char *colon = strrchr(name, ':');
		if (colon != NULL)
			*colon = '\0';
		return g_strdup_printf("dial tcp: lookup %s: no such host", name);
	}
	case CURLE_COULDNT_CONNECT:
		*ret_kind = HTTP_CONNECT;
		return g_strdup_printf("dial tcp %s: connect: %s", peer, os != NULL ? os : detail);
	case CURLE_OPERATION_TIMEDOUT:
		*ret_kind = HTTP_TIMEOUT;
		return r->sent == 0 ? dial_timeout_text(r, peer)
		                    : g_strdup("net/http: timeout awaiting response headers");
	case CURLE_GOT_NOTHING:
		*ret_kind = HTTP_CLOSED;
		return g_strdup("EOF");
	case CURLE_PARTIAL_FILE:
		*ret_kind = HTTP_CLOSED;
		return g_strdup("unexpected EOF");
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		*ret_kind = HTTP_CLOSED;
		if (os_errno == 0)
			return g_strdup(r->have_header ? "unexpected EOF" : "EOF");
		return g_strdup_printf("%s tcp %s: %s", r->result == CURLE_SEND_ERROR ? "write" : "read",
		                       peer, os);
	case CURLE_PEER_FAILED_VERIFICATION:
		return verify_text(verify) != NULL
		               ? g_strdup_printf("tls: failed to verify certificate: %s", verify_text(verify))
		               : g_strdup_printf("tls: failed to verify certificate: x509: %s", detail);
	case CURLE_SSL_CONNECT_ERROR:
		/* OpenSSL's words for a server that answers TLS with "HTTP/1.1 400" */
		if (strstr(detail, "wrong version number") != NULL ||
		    strstr(detail, "http request") != NULL ||
		    strstr(detail, "packet length too long") != NULL ||
		    strstr(detail, "unknown protocol") != NULL) {
			*ret_kind = HTTP_PLAIN_PEER;
			return g_strdup("http: server gave HTTP response to HTTPS client");
		}
		if (os_errno != 0) {
			*ret_kind = HTTP_CLOSED;
			return g_strdup_printf("read tcp %s: %s", peer, os);
		}
		return g_strdup_printf("tls: %s", detail);
	case CURLE_UNSUPPORTED_PROTOCOL:
		return g_strdup("unsupported protocol scheme");
	case CURLE_WEIRD_SERVER_REPLY:
		return g_strdup("net/http: HTTP/1.x transport connection broken: malformed HTTP response");
	default:
		return g_strdup(detail);
	}
}

/* The error of a response whose transfer is over; prefix: the request failed as a whole. */
static void response_error(HttpResponse *r, bool prefix, HttpFailure *ret_failure, GError **error)
{
	g_autoptr(GError) failure = g_steal_pointer(&r->failure);
	HttpFailure kind = r->kind;
	if (failure == NULL) {
		g_autofree char *cause = curl_cause(r, &kind);
		error_set(&failure, CTRD_ERR_UNKNOWN, "%s", cause);
	}
	if (prefix && kind != HTTP_SINK) {
		g_autofree char *op = g_ascii_strdown(r->method, -1);
		op[0] = g_ascii_toupper(op[0]);
		g_autofree char *url = go_quote(r->url);
		error_prefix(&failure, "%s %s", op, url);
	}
	if (ret_failure != NULL)
		*ret_failure = kind;
	g_propagate_error(error, g_steal_pointer(&failure));
}

/* ---- The transfer ---- */

static bool check_time(HttpResponse *r, int64_t *ret_left)
{
	int64_t now = time_mono();
	GError *error = NULL;
	if (!cancel_check(r->cancel, &error))
		return response_fail(r, HTTP_CANCELED, error);
	const HttpLimits *l = &r->client->limits;
	int64_t left;
	if (r->sent == 0) {
		/* curl has its own time-out for this; ours is for what it does not count, as the resolver */
		left = r->started + r->dial_timeout + NS_PER_SEC - now;
		if (left <= 0) {
			g_autofree char *peer = peer_of(r), *text = dial_timeout_text(r, peer);
			error_set(&error, CTRD_ERR_UNKNOWN, "%s", text);
			return response_fail(r, HTTP_TIMEOUT, error);
		}
	} else if (!r->have_header && r->body_offset >= r->body_size) {
		left = MAX(r->sent, r->window_start) + l->response_timeout_ns - now;
		if (left <= 0) {
			error_set(&error, CTRD_ERR_UNKNOWN, "net/http: timeout awaiting response headers");
			return response_fail(r, HTTP_TIMEOUT, error);
		}
	} else {
		left = r->window_start + l->stall_timeout_ns - now;
		if (left <= 0 && r->window_bytes < l->stall_bytes) {
			g_autofree char *limit = duration_format(l->stall_timeout_ns);
			error_set(&error, CTRD_ERR_UNKNOWN, "no progress: %" PRId64 " bytes in %s",
			          r->window_bytes, limit);
			return response_fail(r, HTTP_TIMEOUT, error);
		}
		if (left <= 0) {
			window_restart(r);
			left = l->stall_timeout_ns;
		}
	}
	int64_t deadline = cancel_deadline(r->cancel);
	if (deadline != 0)
		left = MIN(left, MAX(deadline - now, 0));
	*ret_left = left;
	return true;
}

static void collect_result(HttpResponse *r)
{
	int queued = 0;
	CURLMsg *msg;
	while ((msg = curl_multi_info_read(r->conn->multi, &queued)) != NULL)
		if (msg->msg == CURLMSG_DONE && msg->easy_handle == r->conn->easy) {
			r->done = true;
			r->result = msg->data.result;
		}
}

/* Runs the transfer until the header is there (or, with body, until its end). */
static bool transfer_run(HttpResponse *r, bool body)
{
	for (;;) {
		int running = 0;
		CURLMcode code = curl_multi_perform(r->conn->multi, &running);
		if (code != CURLM_OK) {
			GError *error = NULL;
			error_set(&error, CTRD_ERR_UNKNOWN, "%s", curl_multi_strerror(code));
			return response_fail(r, HTTP_FAILED, error);
		}
		collect_result(r);
		if (r->failure != NULL)
			return false;
		if (r->done)
			return r->result == CURLE_OK;
		if (!body && r->have_header)
			return true;
		int64_t left = 0;
		if (!check_time(r, &left))
			return false;
		curl_multi_poll(r->conn->multi, NULL, 0, (int)MIN(left / NS_PER_MS + 1, 1000), NULL);
	}
}

static void set_proxy(CURL *easy, const char *url)
{
	g_autofree char *proxy = proxy_for_url(url, (ProxyEnv)getenv);
	curl_easy_setopt(easy, CURLOPT_PROXY, proxy); // "": none, whatever the environment says
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
}

static void set_request(HttpResponse *r, const HttpRequest *req)
{
	CURL *easy = r->conn->easy;
	curl_easy_reset(easy);
	curl_easy_setopt(easy, CURLOPT_SHARE, r->client->share);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, r->error_buffer);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_URL, req->url);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(r->dial_timeout / NS_PER_MS));
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, r);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, r);
	if (g_str_equal(req->method, "HEAD")) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	} else if (req->body != NULL) {
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(easy, CURLOPT_READDATA, r);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, r);
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)req->body_size);
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, req->method);
	} else if (g_str_equal(req->method, "POST") || g_str_equal(req->method, "PUT")) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, req->method);
	} else if (!g_str_equal(req->method, "GET")) {
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, req->method);
	}
	bool has_type = false;
	for (size_t i = 0; req->headers != NULL && req->headers[i] != NULL; i++) {
		has_type = has_type || g_ascii_strncasecmp(req->headers[i], "Content-Type:", 13) == 0;
		r->headers_out = curl_slist_append(r->headers_out, req->headers[i]);
	}
	if (!has_type) // curl says application/x-www-form-urlencoded of every POST
		r->headers_out = curl_slist_append(r->headers_out, "Content-Type:");
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, r->headers_out);
	set_proxy(easy, req->url);
	http_tls_apply(req->tls, easy);
}

/* A header that tells who one is; its value is nobody's business. */
static bool header_is_secret(const char *line)
{
	static const char *const words[] = {"auth",     "cookie", "token",     "secret",
	                                    "password", "key",    "credential"};
	g_autofree char *name = g_ascii_strdown(line, (gssize)strcspn(line, ":"));
	for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
		if (strstr(name, words[i]) != NULL && !g_str_equal(name, "www-authenticate"))
			return true;
	return false;
}

static void append_header(GString *text, const char *line)
{
	if (header_is_secret(line)) {
		g_string_append_printf(text, "%.*s: <redacted>\n", (int)strcspn(line, ":"), line);
	} else if (g_ascii_strncasecmp(line, "Location: ", 10) == 0) {
		g_autofree char *url = url_redact(line + 10); // signed URLs are credentials
		g_string_append_printf(text, "%.10s%s\n", line, url);
	} else {
		g_string_append_printf(text, "%s\n", line);
	}
}

static void trace_request(const HttpRequest *req)
{
	if (req->trace == NULL || !req->trace->dump)
		return;
	g_autofree char *url = url_redact(req->url);
	g_autoptr(GString) text = g_string_new(NULL);
	g_string_append_printf(text, "%s %s\n", req->method, url);
	for (size_t i = 0; req->headers != NULL && req->headers[i] != NULL; i++)
		append_header(text, req->headers[i]);
	req->trace->line(text->str, req->trace->data);
}

static double seconds_of(CURL *easy, CURLINFO info)
{
	curl_off_t us = 0;
	curl_easy_getinfo(easy, info, &us);
	return (double)us / 1e6;
}

/* What went on below: what upstream's httptrace tells, in one line. */
static void trace_events(HttpResponse *r, const char *outcome)
{
	if (r->trace == NULL || !r->trace->events)
		return;
	CURL *easy = r->conn->easy;
	long fresh = 0;
	curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &fresh);
	g_autofree char *url = url_redact(r->url);
	g_autofree char *peer = peer_of(r);
	g_autofree char *text = g_strdup_printf(
	        "%s %s: %s, remote_addr=%s reused=%s dns=%.4fs connected=%.4fs tls=%.4fs first_byte=%.4fs\n",
	        r->method, url, outcome, peer, fresh == 0 ? "true" : "false",
	        seconds_of(easy, CURLINFO_NAMELOOKUP_TIME_T), seconds_of(easy, CURLINFO_CONNECT_TIME_T),
	        seconds_of(easy, CURLINFO_APPCONNECT_TIME_T),
	        seconds_of(easy, CURLINFO_STARTTRANSFER_TIME_T));
	r->trace->line(text, r->trace->data);
}

static void trace_response(HttpResponse *r)
{
	trace_events(r, r->status_text);
	if (r->trace == NULL || !r->trace->dump)
		return;
	g_autoptr(GString) text = g_string_new(NULL);
	g_string_append_printf(text, "%s\n", r->status_text);
	for (guint i = 0; i < r->headers->len; i++)
		append_header(text, r->headers->pdata[i]);
	r->trace->line(text->str, r->trace->data);
}

static char *origin_of(const char *url)
{
	const char *start = strstr(url, "://");
	start = start != NULL ? start + 3 : url;
	return g_strndup(url, (size_t)(start - url) + strcspn(start, "/?#"));
}

HttpResponse *http_do(HttpClient *client, const HttpRequest *req, Cancel *cancel, HttpFailure *ret_failure,
                      GError **error)
{
	if (ret_failure != NULL)
		*ret_failure = HTTP_OK;
	if (!cancel_check(cancel, error)) {
		if (ret_failure != NULL)
			*ret_failure = HTTP_CANCELED;
		return NULL;
	}
	g_autofree char *where = origin_of(req->url);
	g_autofree char *origin = g_strdup_printf("%s %p", where, (void *)req->tls);
	g_autoptr(HttpResponse) r = g_new0(HttpResponse, 1);
	r->client = client;
	r->conn = conn_take(client, origin);
	r->cancel = cancel_ref(cancel);
	r->method = g_strdup(req->method);
	r->url = g_strdup(req->url);
	r->headers = g_ptr_array_new_with_free_func(g_free);
	r->body = req->body;
	r->body_data = req->body_data;
	r->body_size = req->body != NULL ? req->body_size : 0;
	r->dial_timeout = req->dial_timeout_ns != 0 ? req->dial_timeout_ns : client->limits.dial_timeout_ns;
	r->trace = req->trace;
	r->started = time_mono();
	window_restart(r);
	set_request(r, req);
	trace_request(req);
	curl_multi_add_handle(r->conn->multi, r->conn->easy);
	if (cancel != NULL)
		r->cancel_id = cancel_on(cancel, on_cancel, r);
	bool ok = transfer_run(r, false);
	if (ok && !r->have_header) {
		/* the connection ended in the middle of the header, which curl lets pass */
		GError *e = NULL;
		error_set(&e, CTRD_ERR_UNKNOWN, "unexpected EOF");
		ok = response_fail(r, HTTP_CLOSED, e);
	}
	/* once there is a header it is an answer; what went wrong after it is for http_body to tell */
	if (!ok && (!r->have_header || r->failure != NULL)) {
		trace_events(r, "no answer");
		response_error(r, true, ret_failure, error);
		return NULL;
	}
	trace_response(r);
	return g_steal_pointer(&r);
}

int http_status(HttpResponse *r)
{
	return r->status;
}

const char *http_status_text(HttpResponse *r)
{
	/* HTTP/2 has no reason phrases; Go fills them in */
	if (strchr(r->status_text, ' ') == NULL) {
		static const struct {
			int status;
			const char *text;
		} known[] = {
		        {200, "OK"},
		        {201, "Created"},
		        {202, "Accepted"},
		        {204, "No Content"},
		        {206, "Partial Content"},
		        {301, "Moved Permanently"},
		        {302, "Found"},
		        {303, "See Other"},
		        {307, "Temporary Redirect"},
		        {308, "Permanent Redirect"},
		        {400, "Bad Request"},
		        {401, "Unauthorized"},
		        {403, "Forbidden"},
		        {404, "Not Found"},
		        {405, "Method Not Allowed"},
		        {408, "Request Timeout"},
		        {409, "Conflict"},
		        {413, "Request Entity Too Large"},
		        {416, "Requested Range Not Satisfiable"},
		        {429, "Too Many Requests"},
		        {500, "Internal Server Error"},
		        {501, "Not Implemented"},
		        {502, "Bad Gateway"},
		        {503, "Service Unavailable"},
		        {504, "Gateway Timeout"},
		};
		for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
			if (known[i].status == r->status) {
				g_free(r->status_text);
				r->status_text = g_strdup_printf("%d %s", r->status, known[i].text);
				break;
			}
	}
	return r->status_text;
}

static const char *header_value(const char *line, const char *name)
{
	size_t len = strlen(name);
	if (g_ascii_strncasecmp(line, name, len) != 0 || line[len] != ':')
		return NULL;
	const char *value = line + len + 1;
	return value + strspn(value, " \t");
}

const char *http_header(HttpResponse *r, const char *name)
{
	for (guint i = 0; i < r->headers->len; i++) {
		const char *value = header_value(r->headers->pdata[i], name);
		if (value != NULL)
			return value;
	}
	return NULL;
}

GPtrArray *http_header_values(HttpResponse *r, const char *name)
{
	GPtrArray *values = g_ptr_array_new();
	for (guint i = 0; i < r->headers->len; i++) {
		const char *value = header_value(r->headers->pdata[i], name);
		if (value != NULL)
			g_ptr_array_add(values, (char *)value);
	}
	return values;
}

int64_t http_content_length(HttpResponse *r)
{
	const char *value = http_header(r, "Content-Length");
	int64_t length = -1;
	if (value == NULL || !parse_i64(value, &length) || length < 0)
		return -1;
	return length;
}

const char *http_url(HttpResponse *r)
{
	return r->url;
}

const char *http_method(HttpResponse *r)
{
	return r->method;
}

bool http_body(HttpResponse *r, ByteSink sink, void *data, HttpFailure *ret_failure, GError **error)
{
	if (ret_failure != NULL)
		*ret_failure = HTTP_OK;
	r->sink = sink;
	r->sink_data = data;
	window_restart(r);
	bool ok = r->done && r->result == CURLE_OK;
	if (!r->done) {
		if (r->paused) {
			r->paused = false;
			curl_easy_pause(r->conn->easy, CURLPAUSE_CONT);
		}
		ok = r->failure == NULL && transfer_run(r, true);
	}
	if (!ok) {
		response_error(r, false, ret_failure, error);
		return false;
	}
	r->drained = true;
	return true;
}

typedef struct {
	GByteArray *bytes;
	size_t max;
	bool over;
} Collect;

static bool collect(void *data, const void *buf, size_t len, GError **error)
{
	Collect *c = data;
	size_t room = c->max - c->bytes->len;
	g_byte_array_append(c->bytes, buf, (guint)MIN(len, room));
	if (len > room) {
		c->over = true;
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "response body exceeds the limit of %zu bytes", c->max);
	}
	return true;
}

char *http_body_head(HttpResponse *r, size_t max, size_t *ret_len)
{
	Collect c = {.bytes = g_byte_array_new(), .max = max};
	http_body(r, collect, &c, NULL, NULL);
	if (ret_len != NULL)
		*ret_len = c.bytes->len;
	g_byte_array_append(c.bytes, (const guint8 *)"", 1);
	return (char *)g_byte_array_free(c.bytes, FALSE);
}

bool http_body_all(HttpResponse *r, size_t max, char **ret, size_t *ret_len, GError **error)
{
	Collect c = {.bytes = g_byte_array_new(), .max = max};
	if (!http_body(r, collect, &c, NULL, error)) {
		g_byte_array_unref(c.bytes);
		return false;
	}
	*ret_len = c.bytes->len;
	g_byte_array_append(c.bytes, (const guint8 *)"", 1);
	*ret = (char *)g_byte_array_free(c.bytes, FALSE);
	return true;
}

static bool discard(void *data, const void *buf, size_t len, GError **error)
{
	size_t *left = data;
	if (len > *left)
		return error_set(error, CTRD_ERR_UNKNOWN, "enough");
	*left -= len;
	return true;
}

void http_response_free(HttpResponse *r)
{
	if (r == NULL)
		return;
	/* a short rest is cheaper to read than a new connection is to make */
	int64_t length = r->have_header ? http_content_length(r) : -1;
	if (r->have_header && !r->done && r->failure == NULL && r->sink == NULL && length >= 0 &&
	    length <= ERROR_BODY_DRAIN) {
		size_t left = ERROR_BODY_DRAIN;
		http_body(r, discard, &left, NULL, NULL);
	}
	if (r->cancel_id != 0)
		cancel_off(r->cancel, r->cancel_id);
	cancel_unref(r->cancel);
	if (r->conn != NULL) {
		curl_multi_remove_handle(r->conn->multi, r->conn->easy); // closes what is half read
		if (r->done)
			conn_put(r->client, r->conn);
		else
			conn_free(r->conn);
	}
	curl_slist_free_all(r->headers_out);
	if (r->headers != NULL)
		g_ptr_array_unref(r->headers);
	g_free(r->status_text);
	g_clear_error(&r->failure);
	g_free(r->method);
	g_free(r->url);
	g_free(r);
}
