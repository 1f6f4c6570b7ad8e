// SPDX-License-Identifier: Apache-2.0
#include "daemon/http-server.h"
#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/lock.h"
#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_CONNECTIONS 64
#define CONNECTION_MEMORY ((size_t)32 * 1024)
#define IDLE_SECONDS 30
#define STOP_TIMEOUT (5 * NS_PER_SEC)

struct HttpRequest {
	struct MHD_Connection *connection;
	const char *path;
};

struct HttpServer {
	struct MHD_Daemon *daemon;
	GArray *routes;
	Lock lock;
	Cond changed;
	GArray *connections; // int; their sockets, which are the library's
};

const char *http_query(const HttpRequest *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_path(const HttpRequest *request)
{
	return request->path;
}

static bool matches(const HttpRoute *route, const char *path)
{
	size_t n = strlen(route->path);

	return strcmp(route->path, path) == 0 ||
	       (g_str_has_suffix(route->path, "/") && strncmp(route->path, path, n) == 0);
}

/* The longest path that matches. */
static const HttpRoute *find_route(const GArray *routes, const char *path)
{
	const HttpRoute *best = NULL;

	for (guint i = 0; i < routes->len; i++) {
		const HttpRoute *route = &g_array_index(routes, HttpRoute, i);

		if (matches(route, path) && (best == NULL || strlen(route->path) > strlen(best->path)))
			best = route;
	}
	return best;
}

void http_answer(const GArray *routes, const HttpRequest *request, HttpReply *reply)
{
	const HttpRoute *route = find_route(routes, request->path);

	if (route != NULL) {
		route->handler(request, reply, route->data);
		return;
	}
	reply->status = 404;
	g_string_assign(reply->body, "404 page not found\n");
}

/* Takes the body. */
static enum MHD_Result send_reply(struct MHD_Connection *connection, HttpReply *reply)
{
	size_t len = reply->body->len;
	char *text = g_string_free(reply->body, FALSE);
	struct MHD_Response *response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);

	if (response == NULL) {
		g_free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	enum MHD_Result ok = MHD_queue_response(connection, reply->status, response);
	MHD_destroy_response(response);
	return ok;
}

/* Called when the head is there, and again at the end of the request's body, which nobody reads. */
static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
	const HttpServer *server = data;
	const HttpRequest request = {.connection = connection, .path = url};
	HttpReply reply = {.status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8"};
	static const char head_seen;

	if (*state == NULL) {
		*state = (void *)&head_seen;
		return MHD_YES;
	}
	if (*upload_size > 0) {
		*upload_size = 0;
		return MHD_YES;
	}
	reply.body = g_string_new(NULL);
	if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
		http_answer(server->routes, &request, &reply);
	} else {
		reply.status = MHD_HTTP_METHOD_NOT_ALLOWED;
		g_string_assign(reply.body, "Method Not Allowed\n");
	}
	return send_reply(connection, &reply);
}

static void on_log(void *data, const char *format, va_list ap) G_GNUC_PRINTF(2, 0);
static void on_log(void *data, const char *format, va_list ap)
{
	g_autofree char *text = g_strdup_vprintf(format, ap);

	log_debug("http server", "error", g_strchomp(text), NULL);
}

static int connection_fd(struct MHD_Connection *connection)
{
	return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static void on_connection(void *data, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
	HttpServer *server = data;
	int fd = connection_fd(connection);

	LOCK_SCOPE(&server->lock);
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		g_array_append_val(server->connections, fd);
		return;
	}
	for (guint i = 0; i < server->connections->len; i++) {
		if (g_array_index(server->connections, int, i) == fd) {
			g_array_remove_index_fast(server->connections, i);
			break;
		}
	}
	cond_broadcast(&server->changed);
}

/* No connection is left when the library stops: up to 0.9.76 it reads through NULL where a request that it
 * refuses by itself (a head that is too long) meets its end. */
static void hang_up(HttpServer *server)
{
	int listen_fd = MHD_quiesce_daemon(server->daemon);
	int64_t until = time_mono() + STOP_TIMEOUT;

	if (listen_fd >= 0)
		close(listen_fd);
	LOCK_SCOPE(&server->lock);
	for (guint i = 0; i < server->connections->len; i++)
		shutdown(g_array_index(server->connections, int, i), SHUT_RDWR);
	while (server->connections->len > 0 && cond_wait_until(&server->changed, &server->lock, until))
		;
}

HttpServer *http_server_new(int listen_fd, const GArray *routes, GError **error)
{
	HttpServer *server = g_new0(HttpServer, 1);

	server->routes = g_array_copy((GArray *)routes);
	server->connections = g_array_new(FALSE, FALSE, sizeof(int));
	lock_init(&server->lock, "http-server", LOCK_RANK_LEAF);
	cond_init(&server->changed);
	server->daemon = MHD_start_daemon(
	        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
	        server, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, listen_fd,
	        MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	        CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_NOTIFY_CONNECTION,
	        on_connection, server, MHD_OPTION_END);
	if (server->daemon != NULL)
		return server;
	close(listen_fd);
	http_server_free(server);
	error_set(error, CTRD_ERR_UNKNOWN, "cannot start an HTTP server");
	return NULL;
}

void http_server_free(HttpServer *server)
{
	if (server == NULL)
		return;
	if (server->daemon != NULL) {
		hang_up(server);
		MHD_stop_daemon(server->daemon);
	}
	g_array_unref(server->routes);
	g_array_unref(server->connections);
	cond_destroy(&server->changed);
	lock_destroy(&server->lock);
	g_free(server);
}
