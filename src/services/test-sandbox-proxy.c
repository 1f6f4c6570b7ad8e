// SPDX-License-Identifier: Apache-2.0

/* The controllers' service and the client of it: a controller of the test behind both, over a socket. */

#include "base/error.h"
#include "base/fs.h"
#include "loop/lock.h"
#include "mount/mount.h"
#include "runtime/sandbox-controller.h"
#include "services/proxies.h"
#include "services/services.h"
#include <string.h>

static Loop *loop, *client_loop;
static Pool *pool;
static char *dir, *path;
static RpcServer *server;
static RpcService service;
static Exchange *exchange;
static GString *events;

/* ---- the controller of the test: answers what it was asked ---- */

static bool fake_create(SandboxController *c, const Ctx *ctx, const SandboxCreate *create, GError **error)
{
	const Sandbox *s = create->sandbox;
	g_assert_cmpstr(ctx->ns, ==, "ns1");
	if (strcmp(s->id, "bad") == 0)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "sandbox bad");
	g_assert_cmpstr(s->runtime_name, ==, "io.containerd.x.v1");
	g_assert_cmpstr(s->spec.type_url, ==, "spec");
	g_assert_cmpstr(strmap_get(s->labels, "l"), ==, "v");
	g_assert_cmpstr(((Any *)g_hash_table_lookup(s->extensions, "e"))->type_url, ==, "ext");
	g_assert_cmpstr(create->netns_path, ==, "/netns");
	g_assert_cmpstr(strmap_get(create->annotations, "a"), ==, "b");
	g_assert_cmpuint(create->rootfs->len, ==, 1);
	g_assert_cmpstr(((Mount *)create->rootfs->pdata[0])->source, ==, "/src");
	g_assert_cmpstr(create->options->type_url, ==, "opt");
	return true;
}

static bool fake_start(SandboxController *c, const Ctx *ctx, const char *id, SandboxInstance *ret,
                       GError **error)
{
	if (strcmp(id, "bad") == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "sandbox bad");
	*ret = (SandboxInstance){.id = g_strdup(id),
	                         .pid = 7,
	                         .created_at = 5 * NS_PER_SEC,
	                         .address = g_strdup("ttrpc+unix:///x"),
	                         .version = 3,
	                         .labels = strmap_new(),
	                         .spec = {.type_url = g_strdup("spec")}};
	strmap_set(ret->labels, "l", "v");
	return true;
}

static bool fake_platform(SandboxController *c, const Ctx *ctx, const char *id, Platform *ret, GError **error)
{
	*ret = (Platform){
	        .os = g_strdup("linux"), .architecture = g_strdup("arm64"), .variant = g_strdup("v8")};
	return true;
}

static bool fake_stop(SandboxController *c, const Ctx *ctx, const char *id, uint32_t timeout_secs,
                      GError **error)
{
	g_assert_cmpuint(timeout_secs, ==, 9);
	return true;
}

static void fake_wait(SandboxController *c, const Ctx *ctx, const char *id, SandboxExitFn done, void *data)
{
	g_autoptr(GError) error = NULL;
	if (strcmp(id, "bad") == 0)
		error_set_class(&error, CTRD_ERR_NOT_FOUND, "sandbox bad");
	done(3, 6 * NS_PER_SEC, error, data);
}

static bool fake_status(SandboxController *c, const Ctx *ctx, const char *id, bool verbose,
                        SandboxStatus *ret, GError **error)
{
	g_assert_true(verbose);
	*ret = (SandboxStatus){.id = g_strdup(id),
	                       .state = g_strdup("SANDBOX_READY"),
	                       .pid = 8,
	                       .info = strmap_new(),
	                       .created_at = NS_PER_SEC,
	                       .extra = {.type_url = g_strdup("extra")},
	                       .address = g_strdup("y"),
	                       .version = 2};
	strmap_set(ret->info, "k", "i");
	return true;
}

static bool fake_shutdown(SandboxController *c, const Ctx *ctx, const char *id, GError **error)
{
	return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "sandbox %s is busy", id);
}

static bool fake_metrics(SandboxController *c, const Ctx *ctx, const char *id, SandboxMetric *ret,
                         GError **error)
{
	*ret = (SandboxMetric){
	        .id = g_strdup(id), .timestamp = NS_PER_SEC, .data = {.type_url = g_strdup("m")}};
	return true;
}

static bool fake_update(SandboxController *c, const Ctx *ctx, const Sandbox *sandbox,
                        const char *const *fields, GError **error)
{
	g_assert_cmpstr(sandbox->id, ==, "s1");
	g_assert_cmpstr(fields[0], ==, "labels.x");
	g_assert_null(fields[1]);
	return true;
}

static SandboxController fake = {.create = fake_create,
                                 .start = fake_start,
                                 .platform = fake_platform,
                                 .stop = fake_stop,
                                 .wait = fake_wait,
                                 .status = fake_status,
                                 .shutdown = fake_shutdown,
                                 .metrics = fake_metrics,
                                 .update = fake_update};

/* ---- the server ---- */

static Lock lock;
static Cond cond;
static bool stopped;

static bool receive(Envelope *e, void *data)
{
	LOCK_SCOPE(&lock);
	g_string_append_printf(events, "%s:%s ", e->ns, e->topic);
	return true;
}

static void server_start(void)
{
	g_autoptr(GError) error = NULL;
	server = rpc_server_new(loop, pool, NULL);
	rpc_server_add(server, &service);
	int fd = rpc_listen_unix(path, 0600, geteuid(), getegid(), &error);
	g_assert_no_error(error);
	g_assert_true(rpc_server_listen(server, RPC_PROTO_GRPC, fd, false, &error));
}

static void on_stopped(void *data)
{
	LOCK_SCOPE(&lock);
	stopped = true;
	cond_broadcast(&cond);
}

static void stop_on_loop(void *data)
{
	rpc_server_stop(server, on_stopped, NULL);
}

static void server_stop(void)
{
	stopped = false;
	loop_post(loop, stop_on_loop, NULL);
	lock_acquire(&lock);
	while (!stopped)
		cond_wait(&cond, &lock);
	lock_release(&lock);
	rpc_server_free(server);
}

/* ---- tests ---- */

static const Ctx ctx = {.ns = "ns1"};

static void test_values(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(RpcClient) client = rpc_client_new(client_loop, RPC_PROTO_GRPC, path);
	SandboxController *c = sandbox_proxy_new(client_loop, client, "fake");
	g_autoptr(Sandbox) s = sandbox_new();
	g_autoptr(GPtrArray) rootfs = mounts_new();
	g_autoptr(GHashTable) annotations = strmap_new();
	g_auto(Any) options = {.type_url = g_strdup("opt")};
	Any *extension = g_new0(Any, 1);
	extension->type_url = g_strdup("ext");
	s->id = g_strdup("s1");
	s->runtime_name = g_strdup("io.containerd.x.v1");
	s->spec.type_url = g_strdup("spec");
	strmap_set(s->labels, "l", "v");
	g_hash_table_insert(s->extensions, g_strdup("e"), extension);
	strmap_set(annotations, "a", "b");
	g_ptr_array_add(rootfs, mount_new("bind", "/src", NULL, NULL));
	const SandboxCreate create = {s, rootfs, &options, "/netns", annotations};
	g_assert_true(c->create(c, &ctx, &create, &error));

	g_auto(SandboxInstance) i = {0};
	g_assert_true(c->start(c, &ctx, "s1", &i, &error));
	g_assert_cmpuint(i.pid, ==, 7);
	g_assert_cmpint(i.created_at, ==, 5 * NS_PER_SEC);
	g_assert_cmpstr(i.address, ==, "ttrpc+unix:///x");
	g_assert_cmpuint(i.version, ==, 3);
	g_assert_cmpstr(strmap_get(i.labels, "l"), ==, "v");
	g_assert_cmpstr(i.spec.type_url, ==, "spec");

	g_auto(Platform) p = {0};
	g_assert_true(c->platform(c, &ctx, "s1", &p, &error));
	g_assert_cmpstr(p.architecture, ==, "arm64");
	g_assert_cmpstr(p.variant, ==, "v8");
	g_assert_true(c->stop(c, &ctx, "s1", 9, &error));

	g_auto(SandboxStatus) st = {0};
	g_assert_true(c->status(c, &ctx, "s1", true, &st, &error));
	g_assert_cmpstr(st.state, ==, "SANDBOX_READY");
	g_assert_cmpstr(strmap_get(st.info, "k"), ==, "i");
	g_assert_cmpstr(st.extra.type_url, ==, "extra");
	g_assert_cmpint(st.exited_at, ==, 0);
	g_assert_cmpuint(st.version, ==, 2);

	g_auto(SandboxMetric) m = {0};
	g_assert_true(c->metrics(c, &ctx, "s1", &m, &error));
	g_assert_cmpstr(m.data.type_url, ==, "m");
	static const char *const fields[] = {"labels.x", NULL};
	g_assert_true(c->update(c, &ctx, s, fields, &error));
	g_assert_no_error(error);
	c->free(c);
}

static void test_errors(void)
{
	g_autoptr(RpcClient) client = rpc_client_new(client_loop, RPC_PROTO_GRPC, path);
	SandboxController *c = sandbox_proxy_new(client_loop, client, "fake");
	g_autoptr(GError) e1 = NULL, e2 = NULL, e3 = NULL, e4 = NULL, e5 = NULL;
	g_auto(SandboxInstance) i = {0};
	g_autoptr(Sandbox) s = sandbox_new();
	g_autoptr(GPtrArray) rootfs = mounts_new();
	g_autoptr(GHashTable) annotations = strmap_new();
	s->id = g_strdup("bad");
	const SandboxCreate create = {.sandbox = s, .rootfs = rootfs, .annotations = annotations};
	g_assert_false(c->create(c, &ctx, &create, &e1));
	g_assert_cmpstr(e1->message, ==, "sandbox bad: already exists");
	g_assert_true(error_is(e1, CTRD_ERR_ALREADY_EXISTS));
	g_assert_false(c->start(c, &ctx, "bad", &i, &e2));
	g_assert_cmpstr(e2->message, ==, "failed to start sandbox \"bad\": sandbox bad: not found");
	g_assert_false(c->shutdown(c, &ctx, "s1", &e3));
	g_assert_cmpstr(e3->message, ==, "sandbox s1 is busy: failed precondition");
	c->free(c);
	c = sandbox_proxy_new(client_loop, client, "other");
	g_assert_false(c->start(c, &ctx, "s1", &i, &e4));
	g_assert_cmpstr(e4->message, ==,
	                "failed to get sandbox controller for \"other\": not found: failed to get sandbox "
	                "controller by other");
	c->free(c);
	c = sandbox_proxy_new(client_loop, client, "");
	g_assert_false(c->stop(c, &ctx, "s1", 0, &e5));
	g_assert_cmpstr(e5->message, ==, "invalid argument: sandbox controller name can not be empty");
	c->free(c);
}

typedef struct {
	bool done;
	uint32_t status;
	TimeNs at;
	char *error;
} Exit;

static void on_exit_(uint32_t status, TimeNs exited_at, const GError *error, void *data)
{
	Exit *e = data;
	LOCK_SCOPE(&lock);
	e->status = status;
	e->at = exited_at;
	e->error = error != NULL ? g_strdup(error->message) : NULL;
	e->done = true;
	cond_broadcast(&cond);
}

static void wait_done(Exit *e)
{
	LOCK_SCOPE(&lock);
	while (!e->done)
		cond_wait(&cond, &lock);
}

/* A wait outlives a controller that is away. */
static void test_wait(void)
{
	g_autoptr(RpcClient) client = rpc_client_new(client_loop, RPC_PROTO_GRPC, path);
	SandboxController *c = sandbox_proxy_new(client_loop, client, "fake");
	Exit good = {0}, bad = {0}, late = {0};
	c->wait(c, &ctx, "s1", on_exit_, &good);
	wait_done(&good);
	g_assert_cmpuint(good.status, ==, 3);
	g_assert_cmpint(good.at, ==, 6 * NS_PER_SEC);
	c->wait(c, &ctx, "bad", on_exit_, &bad);
	wait_done(&bad);
	g_assert_cmpstr(bad.error, ==, "sandbox bad: not found");
	g_free(bad.error);
	server_stop();
	c->wait(c, &ctx, "s1", on_exit_, &late);
	g_usleep(200000);
	g_assert_false(late.done);
	server_start();
	wait_done(&late);
	g_assert_null(late.error);
	g_assert_cmpuint(late.status, ==, 3);
	c->free(c);
}

static void test_events(void)
{
	LOCK_SCOPE(&lock);
	g_assert_cmpstr(
	        events->str, ==,
	        "ns1:/sandboxes/create ns1:/sandboxes/start ns1:/sandboxes/exit ns1:/sandboxes/exit ");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	dir = g_dir_make_tmp("sandbox-XXXXXX", NULL);
	path = path_join(dir, "s.sock");
	lock_init(&lock, "test", LOCK_RANK_LEAF);
	cond_init(&cond);
	loop = loop_start("server");
	client_loop = loop_start("client");
	pool = pool_new("peer", 4, 8, NS_PER_SEC);
	exchange = exchange_new();
	events = g_string_new(NULL);
	uint64_t id = exchange_subscribe(exchange, NULL, receive, NULL, NULL, NULL);
	GHashTable *controllers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_hash_table_insert(controllers, g_strdup("fake"), &fake);
	service = sandbox_controllers_service_new(controllers, exchange);
	void (*impl_free)(void *) = service.impl_free;
	service.impl_free = NULL; // two servers, one after the other, have it
	server_start();
	g_test_add_func("/sandbox-proxy/values", test_values);
	g_test_add_func("/sandbox-proxy/errors", test_errors);
	g_test_add_func("/sandbox-proxy/wait", test_wait);
	g_test_add_func("/sandbox-proxy/events", test_events);
	int r = g_test_run();
	server_stop();
	impl_free(service.impl);
	exchange_unsubscribe(exchange, id);
	exchange_free(exchange);
	loop_stop_join(client_loop);
	loop_stop_join(loop);
	pool_free(pool);
	g_string_free(events, TRUE);
	tree_remove(dir, NULL);
	g_free(dir);
	g_free(path);
	return r;
}
