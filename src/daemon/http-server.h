// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * HTTP for the debug and the metrics server, over libmicrohttpd: GET (and HEAD) of fixed paths, answers made
 *in memory.
 *
 * To add a path to the debug server write a plugin of type PLUGIN_HTTP whose instance is an array of
 *HttpRoute, ended by one without a path, that lives until the plugin is closed:
 *
 *	static void show_x(const HttpRequest *request, HttpReply *reply, void *data)
 *	{
 *		g_string_append_printf(reply->body, "...");
 *	}
 *	static bool x_init(PluginInit *init, void **ret_instance, GError **error)
 *	{
 *		static HttpRoute routes[] = {{"/debug/x", show_x, NULL}, {NULL}};
 *		*ret_instance = routes;
 *		return true;
 *	}
 *
 * and name it in builtins.c; the debug server (server.v1.debug) takes the routes of all plugins of that type
 *that came up.
 *
 * Threads: each server has one of its own, which runs the handlers one after the other; they may take locks
 *but must not wait for anything outside the daemon. Bounds: 64 connections, 32 KiB of request head, 30 s
 *without a byte; what does not fit is refused.
 */

#include <glib.h>
#include <stdbool.h>

typedef struct HttpRequest HttpRequest;
/* A parameter of the query ("debug" of "?debug=1"), NULL where absent. */
const char *http_query(const HttpRequest *request, const char *name);
/* The path as asked for. */
const char *http_path(const HttpRequest *request);

typedef struct {
	unsigned status;          // 200 at start
	const char *content_type; // static; "text/plain; charset=utf-8" at start
	GString *body;
} HttpReply;

typedef void (*HttpHandler)(const HttpRequest *request, HttpReply *reply, void *data);

typedef struct {
	const char *path; // all of it; with a slash at the end also everything below it
	HttpHandler handler;
	void *data;
} HttpRoute;

/* All of a GET as the server answers it, without a socket; unknown paths are `404 page not found`, as Go's.
 */
void http_answer(const GArray *routes, const HttpRequest *request, HttpReply *reply);

typedef struct HttpServer HttpServer;
/* Takes a listening stream socket and serves. routes: GArray of HttpRoute, copied. */
HttpServer *http_server_new(int listen_fd, const GArray *routes, GError **error);
/* Ends the thread, after the handler that runs; closes the socket. */
void http_server_free(HttpServer *server);
