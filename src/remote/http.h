// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * HTTP for registries, over libcurl: blocking requests on the caller's thread, answers that are read as a
 * stream. Nothing here knows registries: redirects, authorization and retries are the callers'.
 *
 * A client keeps connections and reuses them; it is made for one operation (a pull) and ends with it, so an
 * idle daemon holds none. A client may be used from any thread, a response belongs to one thread at a time.
 * Every wait ends with the cancel token, with the time-outs below, or with the peer. Proxies come from the
 * environment as in Go's ProxyFromEnvironment. Texts of failures are those of Go's net/http (`Get "URL": dial
 * tcp 127.0.0.1:1: connect: connection refused`), class UNKNOWN; over a limit is RESOURCE_EXHAUSTED.
 */

#include "diff/compression.h"
#include "loop/cancel.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* What a server must show and what we show it. Reference counted, does not change once made. */
typedef struct HttpTls HttpTls;
typedef struct {
	const char *cert, *key; // PEM files; key NULL: it is in cert, too
} HttpTlsPair;
/* ca_files: roots beside the system's, PEM, may be NULL. Of the pairs the first is shown whose authority the
 * server names. The files are read here, once. Texts as upstream: `unable to read CA cert "x": open x: ...`,
 * `unable to load CA cert "x"`, `unable to read CERT file "x": open x: ...`, `failed to load X509 key pair:
 * tls: ...`. */
HttpTls *http_tls_new(const char *const *ca_files, const HttpTlsPair *pairs, size_t n_pairs, bool skip_verify,
                      GError **error);
HttpTls *http_tls_ref(HttpTls *tls); // NULL is fine
void http_tls_unref(HttpTls *tls);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpTls, http_tls_unref)

typedef struct {
	int64_t dial_timeout_ns;     // connect and TLS handshake; 0: 30 s
	int64_t response_timeout_ns; // from the request sent to the header of the answer; 0: 30 s
	/* A body, either way, that moves less than stall_bytes in stall_timeout_ns is given up. Time that the
	 * caller's sink takes does not count. 0: 4 KiB in 60 s. */
	int64_t stall_timeout_ns;
	int64_t stall_bytes;
} HttpLimits;

typedef struct HttpClient HttpClient;
/* limits NULL: defaults. NULL, NOT_FOUND: a program that loads libcurl late (lazy/) does not find it. */
HttpClient *http_client_new(const HttpLimits *limits, GError **error);
void http_client_free(HttpClient *client); // after its last response
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpClient, http_client_free)

/* Lines about requests: with dump the header of each request and each answer (`--http-dump`), with events
 * what the connection did (`--http-trace`). Never with credentials. Called on the requesting thread. */
typedef struct {
	bool dump, events;
	void (*line)(const char *text, void *data);
	void *data;
} HttpTrace;

typedef struct {
	const char *method; // "GET"
	const char *url;
	const char *const *headers; // "Name: value"
	HttpTls *tls;               // NULL: the system's roots
	int64_t dial_timeout_ns;    // 0: the client's
	/* A body: body_size bytes from a source that is asked for them by offset; body NULL: none. */
	ssize_t (*body)(void *data, void *buf, size_t len, int64_t offset, GError **error);
	void *body_data;
	int64_t body_size;
	const HttpTrace *trace; // NULL: none
} HttpRequest;

/* Why there is no answer, or why a body ended: what decides about another try. */
typedef enum {
	HTTP_OK,
	HTTP_CANCELED,
	HTTP_CONNECT,    // no connection: refused, unreachable, no such host
	HTTP_TIMEOUT,    // any of the time-outs
	HTTP_CLOSED,     // the peer closed or reset the connection
	HTTP_PLAIN_PEER, // TLS was spoken and plain HTTP came back
	HTTP_SINK,       // the caller's own sink or source failed
	HTTP_FAILED,     // all else
} HttpFailure;

typedef struct HttpResponse HttpResponse;
/* Sends the request and waits for the header of the answer, which may have any status. */
HttpResponse *http_do(HttpClient *client, const HttpRequest *request, Cancel *cancel,
                      HttpFailure *ret_failure, GError **error);
int http_status(HttpResponse *r);
const char *http_status_text(HttpResponse *r);                    // "404 Not Found"
const char *http_header(HttpResponse *r, const char *name);       // the first, NULL: absent
GPtrArray *http_header_values(HttpResponse *r, const char *name); // of borrowed char*
int64_t http_content_length(HttpResponse *r);                     // -1: not said
const char *http_url(HttpResponse *r);                            // what was asked
const char *http_method(HttpResponse *r);                         // likewise
/* The body, to its end. Text of a broken one: `unexpected EOF`, `read tcp ...: connection reset by peer`. A
 * response without a body (HEAD) has an empty one. */
bool http_body(HttpResponse *r, ByteSink sink, void *data, HttpFailure *ret_failure, GError **error);
/* The first max bytes of the body, never an error: for texts about errors. NUL-terminated. */
char *http_body_head(HttpResponse *r, size_t max, size_t *ret_len);
/* The whole body; more than max bytes is RESOURCE_EXHAUSTED. */
bool http_body_all(HttpResponse *r, size_t max, char **ret, size_t *ret_len, GError **error);
/* Where the body was not read to its end the connection is closed, else it is kept. */
void http_response_free(HttpResponse *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpResponse, http_response_free)
