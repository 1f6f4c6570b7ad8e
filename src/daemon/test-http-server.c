// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "daemon/http-server.h"
#include "rpc/server.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef struct {
	char *dir, *path;
	HttpServer *server;
} Fixture;

static void show_path(const HttpRequest *request, HttpReply *reply, void *data)
{
	g_string_append_printf(reply->body, "%s %s %s\n", (char *)data, http_path(request),
	                       str_or(http_query(request, "debug"), "-"));
}

static void show_error(const HttpRequest *request, HttpReply *reply, void *data)
{
	reply->status = 501;
	reply->content_type = "application/json";
	g_string_append(reply->body, "{}");
}

static void setup(Fixture *f, const void *data)
{
	static char exact[] = "exact", below[] = "below", deeper[] = "deeper";
	const HttpRoute all[] = {
	        {"/debug/x", show_path, exact},
	        {"/debug/y/", show_path, below},
	        {"/debug/y/z/", show_path, deeper},
	        {"/error", show_error, NULL},
	};
	g_autoptr(GArray) routes = g_array_new(FALSE, FALSE, sizeof(HttpRoute));
	g_autoptr(GError) error = NULL;

	g_array_append_vals(routes, all, G_N_ELEMENTS(all));
	f->dir = g_dir_make_tmp("test-http.XXXXXX", NULL);
	f->path = path_join(f->dir, "s");
	int fd = rpc_listen_unix(f->path, 0660, geteuid(), getegid(), &error);
	g_assert_cmpint(fd, >=, 0);
	f->server = http_server_new(fd, routes, &error);
	g_assert_no_error(error);
}

static void teardown(Fixture *f, const void *data)
{
	http_server_free(f->server);
	tree_remove(f->dir, NULL);
	g_free(f->dir);
	g_free(f->path);
}

static int dial(const Fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
	g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	return fd;
}

static char *ask(const Fixture *f, const char *text)
{
	autofd fd = dial(f);
	char *answer = NULL;

	g_assert_true(fd_write_all(fd, text, strlen(text), NULL));
	g_assert_true(fd_read_all(fd, 1 << 20, &answer, NULL, NULL));
	return answer;
}

static void assert_answer(const Fixture *f, const char *method, const char *path, const char *status,
                          const char *body)
{
	g_autofree char *text = g_strdup_printf("%s %s HTTP/1.0\r\n\r\n", method, path);
	g_autofree char *answer = ask(f, text);
	const char *got = strstr(answer, "\r\n\r\n");

	g_assert_nonnull(got);
	g_assert_true(g_str_has_prefix(answer + strlen("HTTP/1.0 "), status));
	g_assert_cmpstr(got + 4, ==, body);
}

static void test_routes(Fixture *f, const void *data)
{
	assert_answer(f, "GET", "/debug/x", "200", "exact /debug/x -\n");
	assert_answer(f, "GET", "/debug/x?debug=2&a=b", "200", "exact /debug/x 2\n");
	assert_answer(f, "GET", "/debug/x/", "404", "404 page not found\n");
	assert_answer(f, "GET", "/debug/y/a/b", "200", "below /debug/y/a/b -\n");
	assert_answer(f, "GET", "/debug/y/z/b", "200", "deeper /debug/y/z/b -\n");
	assert_answer(f, "GET", "/", "404", "404 page not found\n");
	assert_answer(f, "HEAD", "/debug/x", "200", "");
	assert_answer(f, "POST", "/debug/x", "405", "Method Not Allowed\n");
	g_autofree char *answer = ask(f, "GET /error HTTP/1.0\r\n\r\n");
	g_assert_true(g_str_has_prefix(answer + strlen("HTTP/1.0 "), "501"));
	g_assert_nonnull(strstr(answer, "\r\nContent-Type: application/json\r\n"));
}

/* A client that says nothing, garbage, a head that is too long: the next client is served. */
static void test_hostile(Fixture *f, const void *data)
{
	autofd mute = dial(f);
	g_autofree char *garbage = ask(f, "\x16\x03\x01\r\n\r\n");
	g_autofree char *filler = g_strnfill(64 * 1024, 'a');
	g_autofree char *large = g_strdup_printf("GET /debug/x HTTP/1.0\r\nX: %s\r\n\r\n", filler);
	autofd fd = dial(f);

	g_assert_nonnull(garbage);
	fd_write_all(fd, large, strlen(large), NULL); // the server may hang up before all of it is sent
	assert_answer(f, "GET", "/debug/x", "200", "exact /debug/x -\n");
}

static void assert_listen_error(const char *address, const char *text)
{
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(rpc_listen_tcp(address, &error), <, 0);
	g_assert_cmpstr(error->message, ==, text);
}

static void test_tcp(void)
{
	g_autoptr(GError) error = NULL;
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	autofd fd = rpc_listen_tcp("127.0.0.1:0", &error);

	g_assert_no_error(error);
	g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &len), ==, 0);
	g_assert_cmpint(address.ss_family, ==, AF_INET);
	g_autofree char *taken =
	        g_strdup_printf("127.0.0.1:%u", ntohs(((struct sockaddr_in *)&address)->sin_port));
	g_autofree char *text = g_strdup_printf("listen tcp %s: bind: address already in use", taken);
	assert_listen_error(taken, text);
	assert_listen_error("1338", "listen tcp: address 1338: missing port in address");
	assert_listen_error("::1:80", "listen tcp: address ::1:80: too many colons in address");
	autofd any = rpc_listen_tcp(":0", &error);
	g_assert_no_error(error);
	g_assert_cmpint(any, >=, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/http/routes", Fixture, NULL, setup, test_routes, teardown);
	g_test_add("/http/hostile", Fixture, NULL, setup, test_hostile, teardown);
	g_test_add_func("/http/listen-tcp", test_tcp);
	return g_test_run();
}
