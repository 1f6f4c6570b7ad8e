// SPDX-License-Identifier: Apache-2.0

/*
 * The test service for peers of other makes.
 *   peer-rpc server grpc|ttrpc SOCKET    serves until stdin ends, then stops in order
 */

#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "rpc/health.h"
#include "rpc/test-service.h"
#include <stdio.h>
#include <string.h>

static void stopped(void *data)
{
	__atomic_store_n((bool *)data, true, __ATOMIC_SEQ_CST);
}

static bool stop_flag;

static void stop_begin(void *data)
{
	rpc_server_stop(data, stopped, &stop_flag);
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	if (argc != 4 || strcmp(argv[1], "server") != 0) {
		fprintf(stderr, "usage: peer-rpc server grpc|ttrpc SOCKET\n");
		return 2;
	}
	RpcProto proto = strcmp(argv[2], "grpc") == 0 ? RPC_PROTO_GRPC : RPC_PROTO_TTRPC;
	log_set_level(LOG_ERROR);
	Loop *loop = loop_start("server");
	Pool *pool = pool_new("worker", 64, 8192, NS_PER_SEC);
	RpcServer *server = rpc_server_new(loop, pool, NULL);
	test_service_add(server, loop);
	RpcService health = rpc_health_service_new(loop, NULL);
	rpc_server_add(server, &health);
	int fd = rpc_listen_unix(argv[3], 0600, geteuid(), getegid(), &error);
	if (fd < 0 || !rpc_server_listen(server, proto, fd, false, &error)) {
		fprintf(stderr, "peer-rpc: %s\n", error->message);
		return 1;
	}
	char c;
	while (read(0, &c, 1) > 0)
		;
	loop_post(loop, stop_begin, server);
	while (!__atomic_load_n(&stop_flag, __ATOMIC_SEQ_CST))
		cancel_sleep(NULL, NS_PER_MS, NULL);
	pool_free(pool);
	rpc_server_free(server);
	loop_stop_join(loop);
	unlink(argv[3]);
	return 0;
}
