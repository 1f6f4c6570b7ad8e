// SPDX-License-Identifier: Apache-2.0

/* The content suite through a client, the content service and the namespaced store, over both protocols. */

#include "services/services.h"
#include "store/content-proxy.h"
#include "store/content-suite.h"
#include "store/test-env.h"
#include <string.h>
#include <sys/socket.h>

typedef struct {
	TestEnv *env;
	ContentStore *backend, *store;
	Loop *server_loop, *client_loop;
	Pool *pool;
	RpcServer *server;
	RpcClient *client;
	GPtrArray *namespaces;
	Lock lock;
	Cond cond;
	bool stopped;
} Peer;

static Peer *peer_new(RpcProto proto, const char *dir)
{
	g_autoptr(GError) error = NULL;
	Peer *p = g_new0(Peer, 1);
	p->env = test_env_new(NULL);
	g_autofree char *root = g_build_filename(p->env->dir, "content", NULL);
	p->backend = content_local_new(root, &error);
	g_assert_no_error(error);
	p->store = content_meta_new(p->env->db, p->backend);
	p->server_loop = loop_start("server");
	p->client_loop = loop_start("client");
	p->pool = pool_new("worker", 32, 64, NS_PER_SEC);
	p->server = rpc_server_new(p->server_loop, p->pool, NULL);
	RpcService service = content_service_new(p->store);
	rpc_server_add(p->server, &service);
	int fds[2];
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	g_assert_true(rpc_server_accept(p->server, proto, fds[0], &error));
	p->client = rpc_client_new_fd(p->client_loop, proto, fds[1]);
	p->namespaces = g_ptr_array_new_with_free_func(g_free);
	lock_init(&p->lock, "peer", LOCK_RANK_LEAF);
	cond_init(&p->cond);
	return p;
}

static void on_stopped(void *data)
{
	Peer *p = data;
	LOCK_SCOPE(&p->lock);
	p->stopped = true;
	cond_signal(&p->cond);
}

static void stop(void *data)
{
	Peer *p = data;
	rpc_server_stop(p->server, on_stopped, p);
}

static void free_server(void *data)
{
	Peer *p = data;
	rpc_server_free(p->server);
	on_stopped(p);
}

static void run_and_wait(Peer *p, LoopFn fn)
{
	p->stopped = false;
	g_assert_true(loop_post(p->server_loop, fn, p));
	LOCK_SCOPE(&p->lock);
	while (!p->stopped)
		cond_wait(&p->cond, &p->lock);
}

static void peer_free(Peer *p)
{
	rpc_client_unref(p->client);
	run_and_wait(p, stop);
	run_and_wait(p, free_server);
	loop_stop_join(p->client_loop);
	loop_stop_join(p->server_loop);
	pool_free(p->pool);
	content_store_free(p->store);
	content_store_free(p->backend);
	test_env_free(p->env);
	g_ptr_array_unref(p->namespaces);
	cond_destroy(&p->cond);
	lock_destroy(&p->lock);
	g_free(p);
}

static ContentStore *open_grpc(const char *dir, void **ret_state)
{
	Peer *p = *ret_state = peer_new(RPC_PROTO_GRPC, dir);
	return content_proxy_new(p->client);
}

static ContentStore *open_ttrpc(const char *dir, void **ret_state)
{
	Peer *p = *ret_state = peer_new(RPC_PROTO_TTRPC, dir);
	return content_proxy_new(p->client);
}

static Ctx next_ctx(void *data, bool shareable)
{
	Peer *p = data;
	char *ns = g_strdup_printf("suite-n%u", p->namespaces->len);
	g_ptr_array_add(p->namespaces, ns);
	return (Ctx){.ns = ns};
}

static void close_proxy(ContentStore *s, void *state)
{
	content_store_free(s);
	peer_free(state);
}

static const ContentSuite grpc = {"proxy-grpc", open_grpc, next_ctx, close_proxy, true};
static const ContentSuite ttrpc = {"proxy-ttrpc", open_ttrpc, next_ctx, close_proxy, true};

/* Errors come with class and text; a writer that goes away lets go of its ref. */
static void test_errors(void)
{
	Peer *p = peer_new(RPC_PROTO_GRPC, NULL);
	g_autoptr(GError) error = NULL;
	ContentStore *s = content_proxy_new(p->client);
	const Ctx ctx = {.ns = "ns"}, leased = {.ns = "ns", .lease = "none"};
	static const char zero[] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
	g_assert_null(content_info(s, &ctx, zero, &error));
	g_autofree char *missing = g_strdup_printf("content digest %s: not found", zero);
	assert_error(error, CTRD_ERR_NOT_FOUND, missing);
	g_assert_null(content_info(s, &(Ctx){0}, zero, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, "namespace is required: failed precondition");
	g_assert_null(content_writer(s, &leased, "r", NULL, &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "lease does not exist: not found");
	g_assert_null(content_status(s, &ctx, "r", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "could not get status for ref \"r\": reference r: not found");
	ContentWriter *w = content_writer(s, &ctx, "r", NULL, &error);
	g_assert_true(content_write(w, "abc", 3, &error));
	g_assert_cmpint(content_writer_fd(w), ==, -1);
	g_assert_false(content_writer_advance(w, 1, NULL, &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_IMPLEMENTED));
	g_clear_error(&error);
	g_assert_false(content_commit(w, &ctx, 3, zero, NULL, &error));
	g_autofree char *digest = digest_bytes("abc", 3);
	g_autofree char *unexpected = g_strdup_printf(
	        "commit failed: unexpected commit digest %s, expected %s: failed precondition", digest, zero);
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, unexpected);
	g_assert_false(content_write(w, "abc", 3, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION,
	             "failed to send write: writer is finished: failed precondition");
	content_writer_close(w);
	w = content_open_writer(s, &ctx, "r", NULL, &error);
	g_assert_true(content_commit(w, &ctx, 3, digest, NULL, &error));
	content_writer_close(w);
	content_store_free(s);
	peer_free(p);
}

/* More than one message each way. */
static void test_large(void)
{
	Peer *p = peer_new(RPC_PROTO_GRPC, NULL);
	g_autoptr(GError) error = NULL;
	ContentStore *s = content_proxy_new(p->client);
	const Ctx ctx = {.ns = "ns"};
	size_t len = 5 * 1024 * 1024 + 17;
	g_autofree char *digest = NULL, *data = content_suite_bytes(len, &digest);
	Descriptor desc = {.size = (int64_t)len, .digest = digest};
	g_assert_true(content_write_blob(s, &ctx, "r", data, len, &desc, NULL, &error));
	g_assert_no_error(error);
	g_autofree char *back = NULL;
	size_t back_len;
	g_assert_true(content_read_blob(s, &ctx, &desc, len, &back, &back_len, &error));
	g_assert_cmpuint(back_len, ==, len);
	g_assert_cmpint(memcmp(back, data, len), ==, 0);
	g_assert_false(content_read_blob(s, &ctx, &desc, len - 1, &back, &back_len, &error));
	g_assert_true(error_is(error, CTRD_ERR_RESOURCE_EXHAUSTED));
	content_store_free(s);
	peer_free(p);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	content_suite_add(&grpc);
	content_suite_add_cross_ns_shared(&grpc);
	content_suite_add(&ttrpc);
	g_test_add_func("/content-proxy/errors", test_errors);
	g_test_add_func("/content-proxy/large", test_large);
	return g_test_run();
}
