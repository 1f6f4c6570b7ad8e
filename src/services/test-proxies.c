// SPDX-License-Identifier: Apache-2.0

/* A differ and a sandbox controller through their services, a socket, and the proxies. */

#include "base/error.h"
#include "base/time.h"
#include "loop/lock.h"
#include "runtime/exchange.h"
#include "services/proxies.h"
#include "services/services.h"
#include <string.h>
#include <sys/socket.h>

typedef struct {
	Loop *server_loop, *client_loop;
	Pool *pool;
	RpcServer *server;
	RpcClient *client;
	Exchange *exchange;
	Lock lock;
	Cond cond;
	bool done;
} Fixture;

/* ---- the differ behind ---- */

static Descriptor blob(const char *digest)
{
	return (Descriptor){.media_type = (char *)"application/x", .digest = (char *)digest, .size = 42};
}

static bool fake_apply(Differ *self, const Ctx *ctx, const Descriptor *desc, GPtrArray *mounts,
                       const DifferApplyOptions *options, Descriptor *ret, GError **error)
{
	const Mount *m = mounts->pdata[0];

	if (strcmp(desc->media_type, "application/odd") == 0)
		return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "media type %s", desc->media_type);
	g_assert_cmpstr(ctx->ns, ==, "ns1");
	g_assert_cmpstr(ctx->lease, ==, "lease1");
	g_assert_cmpstr(desc->digest, ==, "sha256:in");
	g_assert_cmpint(desc->size, ==, 42);
	g_assert_cmpstr(m->source, ==, "/src");
	g_assert_true(options->sync_fs);
	const Descriptor d = blob("sha256:out");
	descriptor_copy(ret, &d);
	return true;
}

static bool fake_compare(Differ *self, const Ctx *ctx, GPtrArray *lower, GPtrArray *upper,
                         const DifferCompareOptions *options, Descriptor *ret, GError **error)
{
	g_assert_cmpuint(lower->len, ==, 0);
	g_assert_cmpuint(upper->len, ==, 1);
	g_assert_cmpstr(options->media_type, ==, "application/x");
	g_assert_cmpstr(options->ref, ==, "ref1");
	g_assert_cmpstr(strmap_get(options->labels, "a"), ==, "b");
	g_assert_true(options->has_source_date_epoch);
	g_assert_cmpint(options->source_date_epoch, ==, 7 * NS_PER_SEC);
	const Descriptor d = blob("sha256:diff");
	descriptor_copy(ret, &d);
	return true;
}

/* ---- the controller behind ---- */

static bool fake_create(SandboxController *c, const Ctx *ctx, const SandboxCreate *create, GError **error)
{
	if (strcmp(create->sandbox->id, "taken") == 0)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "sandbox %s", Q("taken"));
	g_assert_cmpstr(create->sandbox->id, ==, "sb1");
	g_assert_cmpstr(create->sandbox->runtime_name, ==, "rt");
	g_assert_cmpstr(create->netns_path, ==, "/netns");
	g_assert_cmpstr(strmap_get(create->annotations, "k"), ==, "v");
	g_assert_cmpuint(create->rootfs->len, ==, 1);
	return true;
}

static bool fake_start(SandboxController *c, const Ctx *ctx, const char *id, SandboxInstance *ret,
                       GError **error)
{
	*ret = (SandboxInstance){.id = g_strdup(id), .pid = 9, .created_at = 5 * NS_PER_SEC, .version = 3};
	ret->address = g_strdup("ttrpc+unix:///x");
	ret->labels = strmap_new();
	strmap_set(ret->labels, "l", "m");
	return true;
}

static bool fake_platform(SandboxController *c, const Ctx *ctx, const char *id, Platform *ret, GError **error)
{
	ret->os = g_strdup("linux");
	ret->architecture = g_strdup("riscv64");
	return true;
}

static uint32_t stop_timeout;

static bool fake_stop(SandboxController *c, const Ctx *ctx, const char *id, uint32_t timeout_secs,
                      GError **error)
{
	stop_timeout = timeout_secs;
	return true;
}

static void fake_wait(SandboxController *c, const Ctx *ctx, const char *id, SandboxExitFn done, void *data)
{
	g_autoptr(GError) error = NULL;

	if (strcmp(id, "sb1") == 0) {
		done(137, 11 * NS_PER_SEC, NULL, data);
		return;
	}
	error_set_class(&error, CTRD_ERR_NOT_FOUND, "sandbox %s", Q(id));
	done(0, 0, error, data);
}

static bool fake_status(SandboxController *c, const Ctx *ctx, const char *id, bool verbose,
                        SandboxStatus *ret, GError **error)
{
	*ret = (SandboxStatus){.id = g_strdup(id), .state = g_strdup(verbose ? "ready" : "quiet"), .pid = 9};
	ret->info = strmap_new();
	strmap_set(ret->info, "i", "j");
	return true;
}

static bool fake_shutdown(SandboxController *c, const Ctx *ctx, const char *id, GError **error)
{
	return strcmp(id, "sb1") == 0 || error_set_class(error, CTRD_ERR_NOT_FOUND, "sandbox %s", Q(id));
}

static bool fake_metrics(SandboxController *c, const Ctx *ctx, const char *id, SandboxMetric *ret,
                         GError **error)
{
	ret->id = g_strdup(id);
	ret->timestamp = 3 * NS_PER_SEC;
	ret->data = (Any){.type_url = g_strdup("t"), .value = g_bytes_new_static("v", 1)};
	return true;
}

static bool fake_update(SandboxController *c, const Ctx *ctx, const Sandbox *sandbox,
                        const char *const *fields, GError **error)
{
	g_assert_cmpstr(sandbox->id, ==, "sb1");
	g_assert_cmpstr(fields[0], ==, "labels.a");
	g_assert_null(fields[1]);
	return true;
}

/* ---- set-up ---- */

static const DifferOps differ_ops = {.apply = fake_apply, .compare = fake_compare};
static Differ differ = {.ops = &differ_ops};
static SandboxController controller = {
        .create = fake_create,
        .start = fake_start,
        .platform = fake_platform,
        .stop = fake_stop,
        .wait = fake_wait,
        .status = fake_status,
        .shutdown = fake_shutdown,
        .metrics = fake_metrics,
        .update = fake_update,
};

static void setup(Fixture *f, const void *data)
{
	g_autoptr(GPtrArray) differs = g_ptr_array_new();
	GHashTable *controllers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	int fds[2];

	f->server_loop = loop_start("server");
	f->client_loop = loop_start("client");
	f->pool = pool_new("worker", 8, 64, NS_PER_SEC);
	f->exchange = exchange_new();
	f->server = rpc_server_new(f->server_loop, f->pool, NULL);
	g_ptr_array_add(differs, &differ);
	g_hash_table_insert(controllers, g_strdup("there"), &controller);
	const RpcService a = diff_service_new(differs, false);
	const RpcService b = sandbox_controllers_service_new(controllers, f->exchange);
	rpc_server_add(f->server, &a);
	rpc_server_add(f->server, &b);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	g_assert_true(rpc_server_accept(f->server, RPC_PROTO_GRPC, fds[0], NULL));
	f->client = rpc_client_new_fd(f->client_loop, RPC_PROTO_GRPC, fds[1]);
	lock_init(&f->lock, "test", LOCK_RANK_LEAF);
	cond_init(&f->cond);
}

static void on_done(void *data)
{
	Fixture *f = data;

	LOCK_SCOPE(&f->lock);
	f->done = true;
	cond_signal(&f->cond);
}

static void wait_done(Fixture *f)
{
	LOCK_SCOPE(&f->lock);
	while (!f->done)
		cond_wait(&f->cond, &f->lock);
	f->done = false;
}

static void stop(void *data)
{
	Fixture *f = data;

	rpc_server_stop(f->server, on_done, f);
}

static void teardown(Fixture *f, const void *data)
{
	rpc_client_unref(f->client);
	loop_post(f->server_loop, stop, f);
	wait_done(f);
	pool_free(f->pool);
	rpc_server_free(f->server);
	loop_stop_join(f->client_loop);
	loop_stop_join(f->server_loop);
	exchange_free(f->exchange);
	cond_destroy(&f->cond);
	lock_destroy(&f->lock);
}

static const Ctx ctx = {.ns = "ns1", .lease = "lease1"};

static GPtrArray *one_mount(void)
{
	GPtrArray *mounts = g_ptr_array_new_with_free_func((GDestroyNotify)mount_free);

	g_ptr_array_add(mounts, mount_new("bind", "/src", NULL, NULL));
	return mounts;
}

/* ---- tests ---- */

static void test_differ(Fixture *f, const void *data)
{
	g_autoptr(Differ) d = differ_proxy_new(f->client);
	g_autoptr(GPtrArray) mounts = one_mount(), none = g_ptr_array_new();
	g_autoptr(GHashTable) labels = strmap_new();
	g_autoptr(GError) error = NULL;
	g_auto(Descriptor) out = {0}, diff = {0}, odd_out = {0};
	const DifferApplyOptions apply = {.sync_fs = true};
	Descriptor in = blob("sha256:in");

	g_assert_true(differ_apply(d, &ctx, &in, mounts, &apply, &out, &error));
	g_assert_cmpstr(out.digest, ==, "sha256:out");
	in.media_type = (char *)"application/odd";
	g_assert_false(differ_apply(d, &ctx, &in, mounts, &apply, &odd_out, &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_IMPLEMENTED)); // so that the next differ is asked
	g_assert_cmpstr(error->message, ==, "media type application/odd: not implemented");
	g_clear_error(&error);
	strmap_set(labels, "a", "b");
	const DifferCompareOptions compare = {.media_type = "application/x",
	                                      .ref = "ref1",
	                                      .labels = labels,
	                                      .has_source_date_epoch = true,
	                                      .source_date_epoch = 7 * NS_PER_SEC};
	g_assert_true(differ_compare(d, &ctx, none, mounts, &compare, &diff, &error));
	g_assert_cmpstr(diff.digest, ==, "sha256:diff");
}

typedef struct {
	Fixture *f;
	uint32_t status;
	TimeNs at;
	char *error;
} Exit;

static void on_exit_(uint32_t status, TimeNs exited_at, const GError *error, void *data)
{
	Exit *e = data;

	e->status = status;
	e->at = exited_at;
	e->error = error != NULL ? g_strdup(error->message) : NULL;
	on_done(e->f);
}

static void test_sandbox(Fixture *f, const void *data)
{
	SandboxController *c = sandbox_proxy_new(f->client_loop, f->client, "there");
	g_autoptr(Sandbox) sandbox = sandbox_new();
	g_autoptr(GPtrArray) mounts = one_mount();
	g_autoptr(GHashTable) annotations = strmap_new();
	g_autoptr(GError) error = NULL;
	g_auto(SandboxInstance) instance = {0};
	g_auto(SandboxStatus) status = {0};
	g_auto(SandboxMetric) metric = {0};
	g_auto(Platform) platform = {0};
	const char *const fields[] = {"labels.a", NULL};
	Exit exit = {.f = f};

	sandbox->id = g_strdup("sb1");
	sandbox->runtime_name = g_strdup("rt");
	strmap_set(annotations, "k", "v");
	const SandboxCreate create = {
	        .sandbox = sandbox, .rootfs = mounts, .netns_path = "/netns", .annotations = annotations};
	g_assert_true(c->create(c, &ctx, &create, &error));
	g_assert_true(c->start(c, &ctx, "sb1", &instance, &error));
	g_assert_cmpuint(instance.pid, ==, 9);
	g_assert_cmpint(instance.created_at, ==, 5 * NS_PER_SEC);
	g_assert_cmpstr(instance.address, ==, "ttrpc+unix:///x");
	g_assert_cmpuint(instance.version, ==, 3);
	g_assert_cmpstr(strmap_get(instance.labels, "l"), ==, "m");
	g_assert_true(c->platform(c, &ctx, "sb1", &platform, &error));
	g_assert_cmpstr(platform.architecture, ==, "riscv64");
	g_assert_true(c->status(c, &ctx, "sb1", true, &status, &error));
	g_assert_cmpstr(status.state, ==, "ready");
	g_assert_cmpstr(strmap_get(status.info, "i"), ==, "j");
	g_assert_true(c->metrics(c, &ctx, "sb1", &metric, &error));
	g_assert_cmpstr(metric.data.type_url, ==, "t");
	g_assert_cmpint(metric.timestamp, ==, 3 * NS_PER_SEC);
	g_assert_true(c->update(c, &ctx, sandbox, fields, &error));
	g_assert_true(c->stop(c, &ctx, "sb1", 17, &error));
	g_assert_cmpuint(stop_timeout, ==, 17);
	g_assert_true(c->shutdown(c, &ctx, "sb1", &error));
	g_assert_no_error(error);
	// Errors keep their class and text.
	g_assert_false(c->shutdown(c, &ctx, "sb2", &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	g_assert_cmpstr(error->message, ==, "sandbox \"sb2\": not found");
	g_clear_error(&error);
	g_free(sandbox->id);
	sandbox->id = g_strdup("taken");
	g_assert_false(c->create(c, &ctx, &create, &error));
	g_assert_true(error_is(error, CTRD_ERR_ALREADY_EXISTS));
	c->wait(c, &ctx, "sb1", on_exit_, &exit);
	wait_done(f);
	g_assert_cmpuint(exit.status, ==, 137);
	g_assert_cmpint(exit.at, ==, 11 * NS_PER_SEC);
	g_assert_null(exit.error);
	c->wait(c, &ctx, "sb2", on_exit_, &exit);
	wait_done(f);
	g_assert_cmpstr(exit.error, ==, "sandbox \"sb2\": not found");
	g_free(exit.error);
	c->free(c);
}

/* A name that the peer does not have. */
static void test_other_name(Fixture *f, const void *data)
{
	SandboxController *c = sandbox_proxy_new(f->client_loop, f->client, "elsewhere");
	g_autoptr(GError) error = NULL;

	g_assert_false(c->stop(c, &ctx, "sb1", 1, &error));
	g_assert_cmpstr(error->message, ==, "not found: failed to get sandbox controller by elsewhere");
	c->free(c);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/proxies/differ", Fixture, NULL, setup, test_differ, teardown);
	g_test_add("/proxies/sandbox", Fixture, NULL, setup, test_sandbox, teardown);
	g_test_add("/proxies/other-name", Fixture, NULL, setup, test_other_name, teardown);
	return g_test_run();
}
