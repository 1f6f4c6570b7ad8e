// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "oci/runtime-spec.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* ---- a root file system ---- */

static char *root;
static int root_fd = -1;

static char *below(const char *name)
{
	return path_join(root, name);
}

static void put(const char *name, const char *text)
{
	g_autofree char *path = below(name);
	g_autoptr(GError) error = NULL;
	file_write_atomic(path, text, strlen(text), 0644, false, &error);
	g_assert_no_error(error);
}

static void setup(const char *passwd, const char *group)
{
	root = g_strdup("/tmp/ctrd-test-spec-XXXXXX");
	g_assert_nonnull(g_mkdtemp(root));
	g_autofree char *etc = below("etc");
	g_assert_cmpint(mkdir(etc, 0755), ==, 0);
	if (passwd != NULL)
		put("etc/passwd", passwd);
	if (group != NULL)
		put("etc/group", group);
	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void teardown(void)
{
	fd_close(&root_fd);
	g_assert_true(tree_remove(root, NULL));
	g_clear_pointer(&root, g_free);
}

/* uid:gid and the additional groups, or the error. */
static void check_user_at(const char *user, int fd, const char *expected)
{
	g_autoptr(JsonObject) spec = spec_new("ns", "id");
	g_autoptr(GError) error = NULL;
	g_autofree char *got = NULL;
	if (spec_set_user(spec, user, fd, &error)) {
		JsonObject *o = json_get(json_get(spec, "process"), "user");
		int64_t uid = -1, gid = -1;
		g_assert_true(json_get_int64(o, "uid", &uid));
		g_assert_true(json_get_int64(o, "gid", &gid));
		g_autofree char *gids = json_to_text(json_get(o, "additionalGids"));
		got = g_strdup_printf("%d:%d %s", (int)uid, (int)gid, gids);
	} else {
		g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNKNOWN);
		got = g_strdup(error->message);
		// nothing has changed
		g_autoptr(JsonObject) before = spec_new("ns", "id");
		g_autofree char *old = json_to_text(before), *now = json_to_text(spec);
		g_assert_cmpstr(old, ==, now);
	}
	g_assert_cmpstr(got, ==, expected);
}

static void check_user(const char *user, const char *expected)
{
	check_user_at(user, root_fd, expected);
}

static const char passwd_text[] = "root:x:0:0:root:/root:/bin/sh\n"
                                  "daemon:x:1:2:daemon:/sbin:/sbin/nologin\n"
                                  "  guest:x:405:100:guest:/dev/null:/sbin/nologin  \n"
                                  "short:x:7\n"
                                  "\n"
                                  "evil:x:4294967296:0::/:/bin/sh\n"
                                  "4294967296:x:0:0::/:/bin/sh\n"
                                  "-1:x:0:0::/:/bin/sh\n"
                                  "+0:x:0:0::/:/bin/sh\n"
                                  "0x0:x:0:0::/:/bin/sh\n"
                                  "words:x:abc:0::/:/bin/sh\n"
                                  "7up:x:77:78::/:/bin/sh\n"
                                  "guest:x:0:0:the second does not count:/:/bin/sh\n";
static const char group_text[] = "root:x:0:root\n"
                                 "bin:x:1:root,daemon\n"
                                 "daemon:x:2:root,daemon\n"
                                 "sys:x:3:root,bin\n"
                                 "users:x:100:guest,daemon\n"
                                 "huge:x:99999999999:guest\n"
                                 "wheel:x:10\n";

static void test_user(void)
{
	setup(passwd_text, group_text);
	check_user(NULL, "0:0 [0,1,2,3]");
	check_user("", "0:0 [0,1,2,3]");
	check_user("root", "0:0 [0,1,2,3]");
	check_user("0", "0:0 [0,1,2,3]");
	check_user("guest", "405:100 [100]");
	check_user("405", "405:100 [100]");
	check_user("daemon", "1:2 [2,1,100]");
	check_user("1", "1:2 [2,1,100]");
	check_user("1:1", "1:1 [1,100]");
	check_user("405:wheel", "405:10 [10,100]");
	check_user("daemon:users", "1:100 [100,1]");
	check_user("daemon:55", "1:55 [55,1,100]");
	check_user("1000", "1000:0 [0]");
	check_user("1000:2000", "1000:2000 [2000]");
	check_user("2147483647:2147483647", "2147483647:2147483647 [2147483647]");
	check_user("7up", "77:78 [78]");
	check_user("00405", "405:100 [100]");
	check_user("guest:", "405:0 [0,100]");
	check_user(":100", "0:100 [100,1,2,3]");
	teardown();
}

static void test_user_bad(void)
{
	setup(passwd_text, group_text);
#define RANGE(user, what) check_user(user, "invalid USER value \"" user "\": " what " out of range")
#define NEITHER(user, what) check_user(user, "invalid USER value \"" user "\": neither a " what " nor a name")
	RANGE("4294967296", "uid");
	RANGE("2147483648", "uid");
	RANGE("99999999999999999999999", "uid");
	RANGE("-1", "uid");
	RANGE("-1:0", "uid");
	RANGE("+4294967296", "uid");
	RANGE("1:99999999999", "gid");
	RANGE("1:-1", "gid");
	RANGE("daemon:2147483648", "gid");
	NEITHER("+0", "uid");
	NEITHER("-0", "uid");
	NEITHER("0x0", "uid");
	NEITHER("0X1F", "uid");
	NEITHER(" 0", "uid");
	NEITHER("0 ", "uid");
	NEITHER("+x", "uid");
	NEITHER("-guest", "uid");
	NEITHER("guest: 1", "gid");
	NEITHER("1:0x1", "gid");
	check_user("guest\n", "invalid USER value \"guest\\n\": neither a uid nor a name");
	check_user("a:b:c", "invalid USER value a:b:c");
	check_user("::", "invalid USER value ::");
	check_user("nobody", "no users found");
	check_user("evil", "no users found");
	check_user("words", "no users found");
	check_user("short", "no users found");
	check_user("guest:nogroup", "no groups found");
	check_user("guest:huge", "no groups found");
	teardown();
}

static void test_user_files(void)
{
	setup(NULL, NULL);
	check_user("1000", "1000:0 [0]");
	check_user("1000:1", "1000:1 [1]");
	check_user("", "0:0 [0]");
	check_user("guest", "open etc/passwd: no such file or directory");
	check_user("1:users", "open etc/group: no such file or directory");
	check_user_at("1000:1", -1, "1000:1 [1]");
	check_user_at("guest", -1, "a root file system is required to look up a user");
	check_user_at("1:users", -1, "a root file system is required to look up a group");

	// none of these may hang, take memory, or be taken for "no file"
	g_autofree char *passwd = below("etc/passwd");
	g_assert_cmpint(mkfifo(passwd, 0644), ==, 0);
	check_user("1000", "etc/passwd is not a regular file");
	unlink(passwd);
	g_assert_cmpint(mkdir(passwd, 0755), ==, 0);
	check_user("1000", "etc/passwd is not a regular file");
	rmdir(passwd);
	g_assert_cmpint(symlink("passwd", passwd), ==, 0);
	check_user("1000", "open etc/passwd: too many levels of symbolic links");
	unlink(passwd);
	g_assert_cmpint(symlink("/../../../../etc/hostname-of-the-host", passwd), ==, 0);
	check_user("guest", "open etc/passwd: no such file or directory");
	unlink(passwd);

	// an absolute link stays inside
	g_assert_cmpint(symlink("/etc/real", passwd), ==, 0);
	put("etc/real", "guest:x:5:6::/:/\n");
	check_user("guest", "5:6 [6]");
	g_autofree char *real = below("etc/real");
	autofd fd = open(real, O_WRONLY | O_CLOEXEC);
	g_assert_cmpint(ftruncate(fd, INT64_C(10) * 1024 * 1024 + 1), ==, 0);
	check_user("guest", "\"etc/passwd\" exceeds 10485760 bytes");
	if (ftruncate(fd, INT64_C(100) << 30) == 0)
		check_user("guest", "\"etc/passwd\" exceeds 10485760 bytes");
	teardown();
}

/* ---- the rest ---- */

static JsonObject *part(JsonObject *spec, const char *path)
{
	g_auto(GStrv) keys = g_strsplit(path, ".", -1);
	for (char **key = keys; *key != NULL; key++)
		spec = json_get(spec, *key);
	return spec;
}

static void check(JsonObject *spec, const char *path, const char *expected)
{
	g_autofree char *text =
	        part(spec, path) != NULL ? json_to_text(part(spec, path)) : g_strdup("absent");
	g_assert_cmpstr(text, ==, expected);
}

static void test_default(void)
{
	g_autoptr(JsonObject) spec = spec_new("default", "c1");
	check(spec, "linux.cgroupsPath", "\"/default/c1\"");
	check(spec, "root.path", "\"rootfs\"");
	check(spec, "process.cwd", "\"/\"");
	check(spec, "process.noNewPrivileges", "true");
	check(spec, "process.rlimits", "[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1024,\"soft\":1024}]");
	check(spec, "linux.namespaces",
	      "[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},{\"type\":"
	      "\"network\"}]");
	g_assert_cmpuint(json_object_array_length(part(spec, "process.capabilities.bounding")), ==, 14);
	check(spec, "process.capabilities.inheritable", "absent"); // CVE-2022-24769
	check(spec, "process.capabilities.ambient", "absent");
	g_assert_cmpuint(json_object_array_length(part(spec, "mounts")), ==, 7);
	g_autofree char *masked = json_to_text(part(spec, "linux.maskedPaths"));
	g_assert_nonnull(strstr(masked, "\"/sys/devices/virtual/powercap\"")); // GHSA-7ww5-4wqc-m92c
	// everything is denied first
	JsonObject *first = json_object_array_get_idx(part(spec, "linux.resources.devices"), 0);
	check(first, "allow", "false");
	check(first, "access", "\"rwm\"");
}

static void test_env(void)
{
	g_autoptr(JsonObject) spec = spec_new("n", "i");
	spec_add_env(spec, (const char *[]){"A=1", "B=2", "AB=3", NULL});
	spec_add_env(spec, (const char *[]){"A=9", "B", "C=", "D", "A=8=7", NULL});
	check(spec, "process.env", "[\"A=8=7\",\"AB=3\",\"C=\"]");
	spec_set_terminal(spec);
	check(spec, "process.env", "[\"A=8=7\",\"AB=3\",\"C=\",\"TERM=xterm\"]");
	check(spec, "process.terminal", "true");
}

static ImageConfig *image(const char *config)
{
	g_autofree char *text = g_strdup_printf("{\"config\":%s}", config);
	g_autoptr(GError) error = NULL;
	ImageConfig *c = image_config_parse(text, strlen(text), &error);
	g_assert_no_error(error);
	return c;
}

static void test_image(void)
{
	g_autoptr(JsonObject) spec = spec_new("n", "i");
	JsonObject *other = spec_new("n", "i");
	g_autoptr(ImageConfig) full =
	        image("{\"Env\":[\"A=1\",\"B=2\",\"odd\"],\"Entrypoint\":[\"/e\"],\"Cmd\":[\"c\"],"
	              "\"WorkingDir\":\"/w\"}");
	g_autoptr(ImageConfig) bare = image("{}");
	spec_add_env(spec, (const char *[]){"A=mine", NULL});
	spec_set_image(spec, full, NULL);
	check(spec, "process.env", "[\"A=mine\",\"B=2\",\"odd\"]");
	check(spec, "process.args", "[\"/e\",\"c\"]");
	check(spec, "process.cwd", "\"/w\"");
	spec_set_image(spec, full, (const char *[]){"x", "y", NULL});
	check(spec, "process.args", "[\"/e\",\"x\",\"y\"]");
	// two containers of one image do not share their environment (CVE-2021-21334)
	spec_set_image(other, full, NULL);
	check(other, "process.env", "[\"A=1\",\"B=2\",\"odd\"]");
	spec_set_image(other, bare, NULL);
	check(other, "process.cwd", "\"/\"");
	check(other, "process.args", "[]");
	json_object_put(other);

	g_autoptr(JsonObject) fresh = spec_new("n", "i");
	spec_set_image(fresh, bare, NULL);
	check(fresh, "process.env",
	      "[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"]");
}

static void test_mounts(void)
{
	g_autoptr(JsonObject) spec = json_object_new_object();
	g_autoptr(GError) error = NULL;
	g_assert_true(spec_add_mount_flag(spec, "type=bind,src=/a,dst=/b,options=rbind:ro", &error));
	check(spec, "mounts",
	      "[{\"destination\":\"/b\",\"type\":\"bind\",\"source\":\"/"
	      "a\",\"options\":[\"rbind\",\"ro\"]}]");
	g_assert_true(spec_add_mount_flag(spec, "type=tmpfs,destination=/b,source=x", &error));
	check(spec, "mounts", "[{\"destination\":\"/b\",\"type\":\"tmpfs\",\"source\":\"x\"}]");
	g_assert_false(spec_add_mount_flag(spec, "type", &error));
	g_assert_cmpstr(error->message, ==, "invalid mount specification: expected key=val");
	g_clear_error(&error);
	g_assert_false(spec_add_mount_flag(spec, "a=b", &error));
	g_assert_cmpstr(error->message, ==, "mount option \"a\" not supported");
}

static void test_namespaces(void)
{
	g_autoptr(JsonObject) spec = json_object_new_object();
	spec_set_namespace(spec, "network", NULL);
	spec_set_namespace(spec, "pid", NULL);
	spec_set_namespace(spec, "network", "/run/netns/x");
	check(spec, "linux.namespaces",
	      "[{\"type\":\"network\",\"path\":\"/run/netns/x\"},{\"type\":\"pid\"}]");
	spec_remove_namespace(spec, "network");
	spec_remove_namespace(spec, "network");
	spec_add_id_map(spec, false, 0, 100000, 65536);
	spec_add_id_map(spec, true, 0, 200000, 65536);
	check(spec, "linux.namespaces", "[{\"type\":\"pid\"},{\"type\":\"user\"}]");
	check(spec, "linux.uidMappings", "[{\"containerID\":0,\"hostID\":100000,\"size\":65536}]");
	check(spec, "linux.gidMappings", "[{\"containerID\":0,\"hostID\":200000,\"size\":65536}]");
	g_assert_true(spec_namespace_type_valid("cgroup"));
	g_assert_false(spec_namespace_type_valid("net"));
}

static void test_caps(void)
{
	g_autoptr(JsonObject) spec = json_object_new_object();
	spec_add_caps(spec, (const char *[]){"CAP_A", "CAP_B", "CAP_A", NULL});
	spec_drop_caps(spec, (const char *[]){"CAP_A", "CAP_Z", NULL});
	static const char *const sets[] = {"bounding", "effective", "permitted"};
	for (size_t i = 0; i < G_N_ELEMENTS(sets); i++)
		check(part(spec, "process.capabilities"), sets[i], "[\"CAP_B\"]");
	check(spec, "process.capabilities.inheritable", "absent");
}

static void test_privileged(void)
{
	g_autoptr(JsonObject) spec = spec_new("n", "i");
	g_autoptr(GError) error = NULL;
	spec_set_apparmor(spec, "x");
	g_assert_true(spec_set_privileged(spec, &error));
	check(spec, "process.apparmorProfile", "absent");
	check(spec, "linux.maskedPaths", "absent");
	check(spec, "linux.readonlyPaths", "absent");
	check(spec, "process.capabilities.inheritable", "absent");
	g_autofree char *mounts = json_to_text(part(spec, "mounts"));
	g_assert_nonnull(
	        strstr(mounts, "\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"rw\"]"));
}

static void test_resources(void)
{
	g_autoptr(JsonObject) spec = json_object_new_object();
	spec_set_memory_limit(spec, UINT64_MAX);
	spec_set_cpu_cfs(spec, -1, 100000);
	spec_set_cpu_shares(spec, 512);
	spec_set_cpu_burst(spec, 7);
	spec_set_cpuset(spec, "0-1", NULL);
	spec_set_rlimit(spec, "RLIMIT_NOFILE", 1, 2);
	spec_set_rlimit(spec, "RLIMIT_CORE", 0, UINT64_MAX);
	spec_set_rlimit(spec, "RLIMIT_NOFILE", 3, 4);
	check(spec, "linux.resources.memory", "{\"limit\":9223372036854775807}");
	check(spec, "linux.resources.cpu",
	      "{\"quota\":-1,\"period\":100000,\"shares\":512,\"burst\":7,\"cpus\":\"0-1\"}");
	check(spec, "process.rlimits",
	      "[{\"type\":\"RLIMIT_NOFILE\",\"hard\":4,\"soft\":3},"
	      "{\"type\":\"RLIMIT_CORE\",\"hard\":18446744073709551615,\"soft\":0}]");
}

static void test_devices(void)
{
	g_autoptr(JsonObject) spec = spec_new("n", "i");
	g_autoptr(GError) error = NULL;
	size_t before = json_object_array_length(part(spec, "linux.resources.devices"));
	g_assert_true(spec_add_device(spec, "/dev/null", "rw", &error));
	JsonObject *d = json_object_array_get_idx(part(spec, "linux.devices"), 0);
	check(d, "path", "\"/dev/null\"");
	check(d, "type", "\"c\"");
	check(d, "major", "1");
	check(d, "minor", "3");
	JsonObject *rule = json_object_array_get_idx(part(spec, "linux.resources.devices"), before);
	g_autofree char *text = json_to_text(rule);
	g_assert_cmpstr(text, ==,
	                "{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":3,\"access\":\"rw\"}");
	g_assert_false(spec_add_device(spec, "/etc/passwd", "rw", &error));
	g_assert_cmpstr(error->message, ==, "/etc/passwd: not a device node");
	g_clear_error(&error);
	g_assert_false(spec_add_device(spec, "/no/such", "rw", &error));
	g_assert_cmpstr(error->message, ==, "stat /no/such: no such file or directory");
	spec_allow_all_devices(spec);
	check(spec, "linux.resources.devices", "[{\"allow\":true,\"access\":\"rwm\"}]");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/runtime-spec/user", test_user);
	g_test_add_func("/runtime-spec/user-bad", test_user_bad);
	g_test_add_func("/runtime-spec/user-files", test_user_files);
	g_test_add_func("/runtime-spec/default", test_default);
	g_test_add_func("/runtime-spec/env", test_env);
	g_test_add_func("/runtime-spec/image", test_image);
	g_test_add_func("/runtime-spec/mounts", test_mounts);
	g_test_add_func("/runtime-spec/namespaces", test_namespaces);
	g_test_add_func("/runtime-spec/caps", test_caps);
	g_test_add_func("/runtime-spec/privileged", test_privileged);
	g_test_add_func("/runtime-spec/resources", test_resources);
	g_test_add_func("/runtime-spec/devices", test_devices);
	return g_test_run();
}
