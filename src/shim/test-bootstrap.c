// SPDX-License-Identifier: Apache-2.0

#include "base/fs.h"
#include "message.h"
#include "rpc/call.h"
#include "runtime/bootstrap/v1/bootstrap.pb-c.h"
#include "shim/bootstrap.h"
#include "types/runc/options/oci.pb-c.h"
#include <string.h>

static const char *env_16(const char *name)
{
	return strcmp(name, "TTRPC_ADDRESS") == 0 ? "/c.sock.ttrpc" : NULL;
}

static const char *env_17(const char *name)
{
	if (strcmp(name, "MAX_SHIM_VERSION") == 0)
		return "2";
	return strcmp(name, "GRPC_ADDRESS") == 0 ? "/grpc.sock" : env_16(name);
}

static Args args = {.ns = (char *)"default",
                    .id = (char *)"box",
                    .address = (char *)"/c.sock",
                    .publish_binary = (char *)"/bin/containerd"};

static GBytes *pack(const void *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *data = g_malloc(len);
	protobuf_c_message_pack(message, data);
	return g_bytes_new_take(data, len);
}

/* What a daemon before 2.3 writes: as bytes a BootstrapParams too, with instance_id and namespace. */
static GBytes *legacy_options(void)
{
	Containerd__Runc__V1__Options o = CONTAINERD__RUNC__V1__OPTIONS__INIT;
	o.systemd_cgroup = true;
	o.shim_cgroup = "shims";
	g_autoptr(GBytes) value = pack(&o);
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	any.type_url = (char *)"containerd.runc.v1.Options";
	any.value.data = (uint8_t *)g_bytes_get_data(value, &any.value.len);
	return pack(&any);
}

static void parse(GBytes *input, const char *(*env)(const char *), Bootstrap *ret)
{
	g_autoptr(GError) error = NULL;
	gsize len = 0;
	const void *data = input != NULL ? g_bytes_get_data(input, &len) : NULL;
	bootstrap_parse(&args, data, len, env, ret, &error);
	g_assert_no_error(error);
}

static void test_legacy(void)
{
	g_auto(Bootstrap) a = {0}, b = {0}, c = {0};
	g_autoptr(GBytes) options = legacy_options();
	parse(NULL, env_16, &a);
	g_assert_cmpint(a.form, ==, BOOTSTRAP_ADDRESS);
	g_assert_cmpstr(a.id, ==, "box");
	g_assert_cmpstr(a.grpc_address, ==, "/c.sock");
	g_assert_cmpstr(a.ttrpc_address, ==, "/c.sock.ttrpc");
	parse(options, env_17, &b);
	g_assert_cmpint(b.form, ==, BOOTSTRAP_JSON);
	g_assert_cmpstr(b.id, ==, "box");
	g_assert_cmpstr(b.ns, ==, "default");
	g_assert_cmpstr(b.grpc_address, ==, "/grpc.sock");
	g_assert_cmpstr(b.options.shim_cgroup, ==, "shims");
	g_assert_true(b.options.systemd_cgroup);
	// nonsense is no reason not to start
	g_autoptr(GBytes) garbage = g_bytes_new_static("\xff\xff\xff", 3);
	parse(garbage, env_17, &c);
	g_assert_cmpint(c.form, ==, BOOTSTRAP_JSON);
}

static void test_params(void)
{
	Containerd__Runtime__Bootstrap__V1__BootstrapParams p =
	        CONTAINERD__RUNTIME__BOOTSTRAP__V1__BOOTSTRAP_PARAMS__INIT;
	p.instance_id = "other";
	p.namespace_ = "k8s.io";
	p.containerd_version = "2.3.4";
	p.containerd_grpc_address = "/run/c.sock";
	p.containerd_ttrpc_address = "/run/c.sock.ttrpc";
	p.log_level = CONTAINERD__RUNTIME__BOOTSTRAP__V1__LOG_LEVEL__LOG_LEVEL_DEBUG;
	Containerd__Runc__V1__Options o = CONTAINERD__RUNC__V1__OPTIONS__INIT;
	o.shim_cgroup = "shims";
	g_autoptr(GBytes) value = pack(&o);
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	any.type_url = (char *)"containerd.runc.v1.Options";
	any.value.data = (uint8_t *)g_bytes_get_data(value, &any.value.len);
	Containerd__Runtime__Bootstrap__V1__Extension e = CONTAINERD__RUNTIME__BOOTSTRAP__V1__EXTENSION__INIT;
	e.value = &any;
	Containerd__Runtime__Bootstrap__V1__Extension empty =
	        CONTAINERD__RUNTIME__BOOTSTRAP__V1__EXTENSION__INIT;
	Containerd__Runtime__Bootstrap__V1__Extension *extensions[] = {&empty, &e};
	p.extensions = extensions;
	p.n_extensions = 2;
	g_autoptr(GBytes) input = pack(&p);
	g_auto(Bootstrap) b = {0};
	parse(input, env_17, &b);
	g_assert_cmpint(b.form, ==, BOOTSTRAP_PROTOBUF);
	g_assert_cmpstr(b.id, ==, "other");
	g_assert_cmpstr(b.ns, ==, "k8s.io");
	g_assert_true(b.debug);
	g_assert_cmpstr(b.options.shim_cgroup, ==, "shims");
	g_assert_null(b.socket_dir);
	// the address upstream's shim computes: sha256 of /run/c.sock/k8s.io/pod
	g_autofree char *address = bootstrap_address(&b, "pod");
	g_autofree char *hash =
	        g_compute_checksum_for_string(G_CHECKSUM_SHA256, "/run/c.sock/k8s.io/pod", -1);
	g_autofree char *want = g_strdup_printf("unix:///run/containerd/s/%s", hash);
	g_assert_cmpstr(address, ==, want);
}

static void assert_bytes(const void *got, size_t got_len, const void *want, size_t want_len)
{
	g_assert_cmpuint(got_len, ==, want_len);
	g_assert_cmpint(memcmp(got, want, want_len), ==, 0);
}

static void test_answers(void)
{
	g_autoptr(GBytes) json = bootstrap_answer(BOOTSTRAP_JSON, "unix:///s");
	static const char want[] = "{\"version\":2,\"address\":\"unix:///s\",\"protocol\":\"ttrpc\"}";
	gsize len;
	const void *data = g_bytes_get_data(json, &len);
	assert_bytes(data, len, want, strlen(want));
	g_autoptr(GBytes) pb = bootstrap_answer(BOOTSTRAP_PROTOBUF, "unix:///s");
	data = g_bytes_get_data(pb, &len);
	assert_bytes(data, len, "\x08\x03\x12\x09unix:///s\x1a\x05ttrpc", 20);
}

static void test_group(void)
{
	g_autofree char *dir = g_dir_make_tmp("shim-XXXXXX", NULL);
	g_autofree char *path = path_join(dir, "config.json");
	static const char *const cases[][2] = {
	        {"{}", "id"},
	        {"{\"annotations\":{\"x\":\"y\"}}", "id"},
	        {"{\"annotations\":{\"io.kubernetes.cri.sandbox-id\":\"pod\"}}", "pod"},
	        {"{\"annotations\":{\"io.kubernetes.cri.sandbox-id\":\"pod\",\"io.containerd.runc.v2.group\":"
	         "\"g\"}}",
	         "g"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_assert_true(file_write_atomic(path, cases[i][0], strlen(cases[i][0]), 0600, false, NULL));
		g_autofree char *group = bootstrap_group(path, "id", NULL);
		g_assert_cmpstr(group, ==, cases[i][1]);
	}
	g_assert_true(file_write_atomic(path, "{", 1, 0600, false, NULL));
	g_autoptr(GError) error = NULL;
	g_assert_null(bootstrap_group(path, "id", &error));
	g_assert_nonnull(error);
	tree_remove(dir, NULL);
	g_autofree char *without = bootstrap_group("/nonexistent/config.json", "id", NULL);
	g_assert_cmpstr(without, ==, "id");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/bootstrap/legacy", test_legacy);
	g_test_add_func("/bootstrap/params", test_params);
	g_test_add_func("/bootstrap/answers", test_answers);
	g_test_add_func("/bootstrap/group", test_group);
	return g_test_run();
}
