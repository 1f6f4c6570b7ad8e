// SPDX-License-Identifier: Apache-2.0
#include "rpc/fuzz-conn.h"

#include "base/log.h"
#include "rpc/call-private.h"
#include "rpc/client-conn.h"
#include "rpc/test-service.h"

typedef struct {
	Loop *loop;
	RpcProto proto;
	RpcServer *server;
	RpcClient *client;
	RpcStream *streams[3];
	const uint8_t *prefix, *data;
	size_t prefix_len, len;
} Fuzz;

static void drop_output(RpcConn *conn)
{
	g_byte_array_unref(rpc_conn_take_output(conn));
}

static void feed(RpcConn *conn, const uint8_t *data, size_t len, size_t step)
{
	while (len > 0 && !conn->closed) {
		size_t n = step == 0 ? len : MIN(step, len);
		rpc_conn_input(conn, data, n);
		drop_output(conn);
		data += n;
		len -= n;
	}
}

static void feed_all(Fuzz *f, RpcConn *conn)
{
	rpc_conn_ref(conn);
	drop_output(conn);
	if (f->prefix_len > 0)
		feed(conn, f->prefix, f->prefix_len, 0);
	if (f->len > 0)
		feed(conn, f->data + 1, f->len - 1, f->data[0]);
	rpc_conn_close(conn, RPC_UNAVAILABLE, "EOF");
	rpc_conn_unref(conn);
}

static void stop_loop(void *data)
{
	loop_stop(data);
}

/* ---- server ---- */

static void serve(void *data)
{
	Fuzz *f = data;
	g_autoptr(GError) error = NULL;
	RpcConn *conn = rpc_server_add_conn(f->server, f->proto, -1);
	g_assert_true(rpc_conn_start(conn, &error));
	feed_all(f, conn);
	rpc_server_stop(f->server, stop_loop, f->loop);
}

void fuzz_server(RpcProto proto, const void *prefix, size_t prefix_len, const uint8_t *data, size_t len)
{
	log_set_level(LOG_PANIC);
	Fuzz f = {loop_new(), proto};
	f.prefix = prefix;
	f.prefix_len = prefix_len;
	f.data = data;
	f.len = len;
	f.server = rpc_server_new(f.loop, NULL, NULL);
	test_service_add_loop(f.server, f.loop);
	g_assert_true(loop_post(f.loop, serve, &f));
	loop_run(f.loop);
	g_assert_cmpuint(rpc_server_n_calls(f.server), ==, 0);
	rpc_server_free(f.server);
	loop_free(f.loop);
}

/* ---- client ---- */

static void answered(const void *response, const GError *error, void *data)
{
	g_assert_true((response == NULL) == (error != NULL));
	++*(unsigned *)data;
}

static void end_client(void *data)
{
	Fuzz *f = data;
	rpc_client_unref(f->client);
	loop_post(f->loop, stop_loop, f->loop);
}

static void answer(void *data)
{
	Fuzz *f = data;
	g_autoptr(GError) error = NULL;
	TestMsg m = test_text("x");
	/* Starting has gone round by the mailbox, so the calls are on the connection now. */
	rpc_stream_send(f->streams[1], &m, &error);
	g_clear_error(&error);
	feed_all(f, f->client->conn);
	for (size_t i = 0; i < G_N_ELEMENTS(f->streams); i++)
		rpc_stream_free(f->streams[i]);
	loop_post(f->loop, end_client, f);
}

static unsigned n_answers;

static void begin(void *data)
{
	Fuzz *f = data;
	g_autoptr(GError) error = NULL;
	TestMsg m = test_text("hello");
	g_assert_true(rpc_client_use_fd(f->client, -1, &error));
	rpc_client_call_async(f->client, test_descriptor, "Echo", NULL, &m, answered, &n_answers);
	f->streams[0] =
	        rpc_client_stream(f->client, test_descriptor, "Count", RPC_SERVER_STREAM, NULL, &m, &error);
	f->streams[1] =
	        rpc_client_stream(f->client, test_descriptor, "Chat", RPC_BIDI_STREAM, NULL, NULL, &error);
	f->streams[2] =
	        rpc_client_stream(f->client, test_descriptor, "Sum", RPC_CLIENT_STREAM, NULL, NULL, &error);
	loop_post(f->loop, answer, f);
}

void fuzz_client(RpcProto proto, const void *prefix, size_t prefix_len, const uint8_t *data, size_t len)
{
	log_set_level(LOG_PANIC);
	Fuzz f = {loop_new(), proto};
	f.prefix = prefix;
	f.prefix_len = prefix_len;
	f.data = data;
	f.len = len;
	f.client = rpc_client_new(f.loop, proto, "/nonexistent");
	n_answers = 0;
	g_assert_true(loop_post(f.loop, begin, &f));
	loop_run(f.loop);
	g_assert_cmpuint(n_answers, ==, 1);
	loop_free(f.loop);
}
