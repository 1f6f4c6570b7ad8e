// SPDX-License-Identifier: Apache-2.0

/*
 * How long a call takes and how fast a stream is, our client and our server in one process over a unix
 * socket. bench-rpc [grpc|ttrpc] [calls]
 */

#include "base/fs.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "rpc/test-service.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	RpcProto proto;
	Loop *loop, *client_loop;
	Pool *pool;
	RpcServer *server;
	RpcClient *client;
	char *dir, *path;
} Bench;

static void die(GError *error)
{
	fprintf(stderr, "bench-rpc: %s\n", error->message);
	exit(1);
}

static void start(Bench *b)
{
	g_autoptr(GError) error = NULL;
	b->dir = g_dir_make_tmp("rpc-bench-XXXXXX", NULL);
	b->path = path_join(b->dir, "s.sock");
	b->loop = loop_start("server");
	b->client_loop = loop_start("client");
	b->pool = pool_new("worker", 64, 1024, NS_PER_SEC);
	b->server = rpc_server_new(b->loop, b->pool, NULL);
	test_service_add(b->server, b->loop);
	int fd = rpc_listen_unix(b->path, 0600, geteuid(), getegid(), &error);
	if (fd < 0 || !rpc_server_listen(b->server, b->proto, fd, false, &error))
		die(error);
	b->client = rpc_client_new(b->client_loop, b->proto, b->path);
}

static void stopped(void *data)
{
	__atomic_store_n((bool *)data, true, __ATOMIC_SEQ_CST);
}

static bool stop_flag;

static void stop_begin(void *data)
{
	rpc_server_stop(data, stopped, &stop_flag);
}

static void stop(Bench *b)
{
	rpc_client_unref(b->client);
	__atomic_store_n(&stop_flag, false, __ATOMIC_SEQ_CST);
	loop_post(b->loop, stop_begin, b->server);
	while (!__atomic_load_n(&stop_flag, __ATOMIC_SEQ_CST))
		cancel_sleep(NULL, NS_PER_MS, NULL);
	pool_free(b->pool);
	rpc_server_free(b->server);
	loop_stop_join(b->client_loop);
	loop_stop_join(b->loop);
	tree_remove(b->dir, NULL);
	g_free(b->dir);
	g_free(b->path);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static void latency(Bench *b, const char *method, unsigned n)
{
	g_autofree int64_t *took = g_new(int64_t, n);
	for (unsigned i = 0; i < n; i++) {
		g_autoptr(GError) error = NULL;
		TestMsg req = test_text("some request of a usual size, as a list with one filter");
		autopb TestMsg *res = NULL;
		int64_t at = time_mono();
		if (!rpc_client_call(b->client, test_descriptor, method, NULL, &req, &res, &error))
			die(error);
		took[i] = time_mono() - at;
	}
	qsort(took, n, sizeof(*took), compare);
	printf("  %-10s %6u calls: median %6.1f us, p99 %6.1f us\n", method, n, (double)took[n / 2] / 1000,
	       (double)took[n * 99 / 100] / 1000);
}

static void receive(Bench *b, size_t size, unsigned n)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *arg = g_strdup_printf("%u %zu", n, size);
	TestMsg req = test_text(arg);
	int64_t at = time_mono();
	g_autoptr(RpcStream) s =
	        rpc_client_stream(b->client, test_descriptor, "Count", RPC_SERVER_STREAM, NULL, &req, &error);
	for (;;) {
		autopb TestMsg *m = NULL;
		if (!rpc_stream_recv(s, &m, &error))
			die(error);
		if (m == NULL)
			break;
	}
	double seconds = (double)(time_mono() - at) / (double)NS_PER_SEC;
	printf("  receive %8zu bytes a message: %7.1f MB/s, %9.0f messages/s\n", size,
	       (double)size * n / seconds / 1e6, n / seconds);
}

static void send_all(Bench *b, size_t size, unsigned n)
{
	g_autoptr(GError) error = NULL;
	g_autofree uint8_t *data = g_malloc0(size);
	TestMsg m = test_msg(data, size);
	int64_t at = time_mono();
	g_autoptr(RpcStream) s =
	        rpc_client_stream(b->client, test_descriptor, "Sum", RPC_CLIENT_STREAM, NULL, NULL, &error);
	for (unsigned i = 0; i < n; i++)
		if (!rpc_stream_send(s, &m, &error))
			die(error);
	autopb TestMsg *r = NULL;
	if (!rpc_stream_close_send(s, &error) || !rpc_stream_recv(s, &r, &error))
		die(error);
	double seconds = (double)(time_mono() - at) / (double)NS_PER_SEC;
	printf("  send    %8zu bytes a message: %7.1f MB/s, %9.0f messages/s\n", size,
	       (double)size * n / seconds / 1e6, n / seconds);
}

int main(int argc, char **argv)
{
	unsigned n = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 10000;
	log_set_level(LOG_ERROR);
	for (int p = RPC_PROTO_GRPC; p <= RPC_PROTO_TTRPC; p++) {
		const char *name = p == RPC_PROTO_GRPC ? "grpc" : "ttrpc";
		if (argc > 1 && strcmp(argv[1], "all") != 0 && strcmp(argv[1], name) != 0)
			continue;
		Bench b = {.proto = (RpcProto)p};
		printf("%s\n", name);
		start(&b);
		latency(&b, "Echo", n);
		latency(&b, "EchoLoop", n);
		receive(&b, 100, n * 5);
		receive(&b, (size_t)1 << 20, n / 10);
		send_all(&b, 100, n * 5);
		send_all(&b, (size_t)1 << 20, n / 10);
		stop(&b);
	}
	return 0;
}
