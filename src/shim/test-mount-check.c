// SPDX-License-Identifier: Apache-2.0

/* What is refused of a spec's mounts, and, as important, what is not. */

#include "base/fs.h"
#include "base/util.h"
#include "mount/test-private-ns.h"
#include "shim/mount-check.h"
#include <string.h>
#include <sys/stat.h>

typedef struct {
	char *dir, *root, *src; // the bundle, its rootfs, sources on the host
} Env;

static void put(const char *dir, const char *name)
{
	g_autofree char *path = path_join(dir, name);
	g_assert_true(file_write_atomic(path, "x", 1, 0644, false, NULL));
}

static void make(const char *dir, const char *name)
{
	g_autofree char *path = path_join(dir, name);
	g_assert_true(dir_make_all(path, 0755, NULL));
}

static void link_to(const char *dir, const char *name, const char *target)
{
	g_autofree char *path = path_join(dir, name);
	g_assert_cmpint(symlink(target, path), ==, 0);
}

static void setup(Env *e, gconstpointer data)
{
	e->dir = g_dir_make_tmp("test-mount-check-XXXXXX", NULL);
	e->root = path_join(e->dir, "rootfs");
	e->src = path_join(e->dir, "src");
	make(e->src, "d");
	put(e->src, "f");
	link_to(e->src, "to-f", "f");
	link_to(e->src, "loop", "loop");
	make(e->root, "etc");
	make(e->root, "data/sub");
	make(e->root, "run/deep");
	make(e->root, "var");
	put(e->root, "etc/hosts");
	put(e->root, "data/file");
	put(e->root, "run/deep/file");
	link_to(e->root, "var/run", "/run");
	link_to(e->root, "host", "/../../../..");
	link_to(e->root, "abs-file", "/etc/hosts");
	link_to(e->root, "dangling", "/etc/nowhere/x");
	link_to(e->root, "circle", "circle");
}

static void teardown(Env *e, gconstpointer data)
{
	g_assert_true(tree_remove(e->dir, NULL));
	g_free(e->root);
	g_free(e->src);
	g_free(e->dir);
}

/* SRC in the text stands for the directory of sources. */
static char *expand(const Env *e, const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, "SRC", -1);
	return g_strjoinv(e->src, parts);
}

static bool check(const Env *e, const char *mounts, const char *more, GError **error)
{
	g_autofree char *path = path_join(e->dir, "config.json");
	g_autofree char *list = expand(e, mounts);
	g_autofree char *spec =
	        g_strdup_printf("{\"root\":{\"path\":\"rootfs\"},\"mounts\":[%s]%s}", list, more);
	g_assert_true(file_write_atomic(path, spec, strlen(spec), 0644, false, NULL));
	return mount_check_spec(e->dir, error);
}

static void assert_fine(const Env *e, const char *mounts)
{
	g_autoptr(GError) error = NULL;
	check(e, mounts, "", &error);
	g_assert_no_error(error);
}

static void assert_refused(const Env *e, const char *mounts, const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *want = expand(e, text);
	g_assert_false(check(e, mounts, "", &error));
	g_assert_cmpstr(error->message, ==, want);
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_INVALID_ARGUMENT);
}

#define BIND(src, dst)                                                                                       \
	"{\"type\":\"bind\",\"source\":\"" src "\",\"destination\":\"" dst "\",\"options\":[\"rbind\"]}"
#define FS(type, dst) "{\"type\":\"" type "\",\"source\":\"" type "\",\"destination\":\"" dst "\"}"

static void test_kinds(Env *e, gconstpointer data)
{
	assert_refused(
	        e, BIND("SRC/d", "/etc/hosts"),
	        "cannot mount \"SRC/d\" onto \"/etc/hosts\" (bind): the source is a directory, the target in "
	        "the container is a file: not a directory: invalid argument");
	assert_refused(e, BIND("SRC/f", "/etc"),
	               "cannot mount \"SRC/f\" onto \"/etc\" (bind): the source is a file, the target in the "
	               "container is a directory: not a directory: invalid argument");
	assert_refused(
	        e, BIND("SRC/to-f", "data/sub"),
	        "cannot mount \"SRC/to-f\" onto \"data/sub\" (bind): the source is a file, the target in the "
	        "container is a directory: not a directory: invalid argument");
	assert_refused(
	        e, BIND("SRC/d", "/abs-file"),
	        "cannot mount \"SRC/d\" onto \"/abs-file\" (bind): the source is a directory, the target in "
	        "the container is a file: not a directory: invalid argument");
	assert_refused(
	        e, FS("tmpfs", "/etc/hosts"),
	        "cannot mount \"tmpfs\" onto \"/etc/hosts\" (tmpfs): the target in the container is a file: "
	        "not a directory: invalid argument");
	assert_refused(e, BIND("SRC/f", "/etc/hosts/x"),
	               "cannot mount \"SRC/f\" onto \"/etc/hosts/x\" (bind): the target's parent in the "
	               "container is "
	               "a file: not a directory: invalid argument");
	assert_refused(
	        e, BIND("SRC/f", "/circle/x"),
	        "cannot mount \"SRC/f\" onto \"/circle/x\" (bind): the target in the container: too many "
	        "levels of symbolic links: invalid argument");
	// by its options, whatever its type says
	assert_refused(
	        e,
	        "{\"type\":\"none\",\"source\":\"SRC/d\",\"destination\":\"/etc/"
	        "hosts\",\"options\":[\"bind\"]}",
	        "cannot mount \"SRC/d\" onto \"/etc/hosts\" (bind): the source is a directory, the target in "
	        "the container is a file: not a directory: invalid argument");
	assert_fine(e, BIND("SRC/d", "/data"));
	assert_fine(e, BIND("SRC/f", "/etc/hosts"));
	assert_fine(e, BIND("/dev/null", "/etc/hosts"));
	assert_fine(e, BIND("src/d", "/data")); // relative to the bundle
}

/* The runtimes make what is missing, also behind links that lead nowhere; no link leads out. */
static void test_missing_target(Env *e, gconstpointer data)
{
	assert_fine(e, BIND("SRC/d", "/new/dir"));
	assert_fine(e, BIND("SRC/f", "/new/file"));
	assert_fine(e, BIND("SRC/d", "/dangling"));
	assert_fine(e, BIND("SRC/d", "/../../../etc"));
	g_autofree char *out = g_strdup_printf(BIND("SRC/d", "/host%s/src/f"), e->dir);
	assert_fine(e, out); // a file on the host, nothing in the root
	assert_refused(
	        e, BIND("SRC/d", "/host/etc/hosts"),
	        "cannot mount \"SRC/d\" onto \"/host/etc/hosts\" (bind): the source is a directory, the "
	        "target in the container is a file: not a directory: invalid argument");
}

static void test_sources(Env *e, gconstpointer data)
{
	assert_refused(
	        e, BIND("SRC/none", "/data"),
	        "cannot mount \"SRC/none\" onto \"/data\" (bind): the source on the host: no such file or "
	        "directory: invalid argument");
	assert_refused(
	        e, BIND("SRC/f/x", "/data"),
	        "cannot mount \"SRC/f/x\" onto \"/data\" (bind): the source on the host: not a directory: "
	        "invalid argument");
	assert_refused(
	        e, BIND("SRC/loop", "/data"),
	        "cannot mount \"SRC/loop\" onto \"/data\" (bind): the source on the host: too many levels of "
	        "symbolic links: invalid argument");
	// a hook may make it in time
	g_autoptr(GError) error = NULL;
	g_assert_true(check(e, BIND("SRC/none", "/data"),
	                    ",\"hooks\":{\"createRuntime\":[{\"path\":\"/bin/true\"}]}", &error));
	g_assert_false(check(e, BIND("SRC/none", "/data"),
	                     ",\"hooks\":{\"poststop\":[{\"path\":\"/bin/true\"}]}", &error));
}

/* What an earlier mount hides does not count; the mount itself does. */
static void test_covered(Env *e, gconstpointer data)
{
	assert_fine(e, FS("tmpfs", "/data") "," BIND("SRC/d", "/data/file"));
	assert_fine(e, FS("tmpfs", "/data") "," BIND("SRC/d", "/data/file/x"));
	assert_fine(e, FS("tmpfs", "/run") "," BIND("SRC/d", "/var/run/deep/file"));
	assert_fine(e, FS("tmpfs", "/var/run") "," BIND("SRC/d", "/run/deep/file"));
	assert_fine(e, BIND("SRC/d", "/") "," BIND("SRC/d", "/etc/hosts"));
	assert_fine(e, BIND("SRC/f", "/etc/hosts") "," BIND("SRC/f", "/etc/hosts"));
	assert_refused(
	        e, FS("tmpfs", "/data") "," BIND("SRC/f", "/data"),
	        "cannot mount \"SRC/f\" onto \"/data\" (bind): the source is a file, the target in the "
	        "container is a directory: not a directory: invalid argument");
	assert_refused(
	        e, FS("tmpfs", "/data") "," BIND("SRC/d", "/etc/hosts"),
	        "cannot mount \"SRC/d\" onto \"/etc/hosts\" (bind): the source is a directory, the target in "
	        "the container is a file: not a directory: invalid argument");
	// beside is not below
	assert_refused(
	        e, FS("tmpfs", "/et") "," BIND("SRC/d", "/etc/hosts"),
	        "cannot mount \"SRC/d\" onto \"/etc/hosts\" (bind): the source is a directory, the target in "
	        "the container is a file: not a directory: invalid argument");
}

static void test_types(Env *e, gconstpointer data)
{
	if (test_skip_without_mounts())
		return;
	assert_refused(
	        e, FS("nofs", "/data"),
	        "cannot mount \"nofs\" onto \"/data\" (nofs): the kernel does not know this type of file "
	        "system: no such device: invalid argument");
	assert_fine(e, FS("proc", "/proc") "," FS("sysfs", "/sys") "," FS("cgroup", "/sys/fs/cgroup") "," FS(
	                       "mqueue", "/dev/mqueue") "," FS("devpts", "/dev/pts") "," FS("none", "/data"));
}

#define MAPS                                                                                                 \
	"\"uidMappings\":[{\"containerID\":0,\"hostID\":1000,\"size\":10}],"                                 \
	"\"gidMappings\":[{\"containerID\":0,\"hostID\":1000,\"size\":10}]"

static void test_idmap(Env *e, gconstpointer data)
{
	if (test_skip_without_mounts())
		return;
	// procfs has no id maps in any kernel
	assert_refused(e,
	               "{\"type\":\"bind\",\"source\":\"/proc/sys\",\"destination\":\"/"
	               "data\",\"options\":[\"bind\"]," MAPS "}",
	               "cannot mount \"/proc/sys\" onto \"/data\" (bind): file system proc does not support "
	               "id-mapped "
	               "mounts: invalid argument: invalid argument");
	assert_fine(e, "{\"type\":\"bind\",\"source\":\"/proc/sys\",\"destination\":\"/"
	               "data\",\"options\":[\"bind\"]}");
	g_autoptr(GError) error = NULL;
	g_assert_false(check(e,
	                     "{\"type\":\"bind\",\"source\":\"/proc/sys\",\"destination\":\"/data\","
	                     "\"options\":[\"bind\",\"idmap\"]}",
	                     ",\"linux\":{" MAPS "}", &error));
	g_assert_nonnull(error);
}

/* What cannot be read is the runtime's to say. */
static void test_odd(Env *e, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = path_join(e->dir, "config.json");
	g_assert_true(mount_check_spec(e->dir, &error)); // there is none
	static const char *const odd[] = {
	        "",
	        "[",
	        "{}",
	        "{\"root\":{\"path\":\"none\"}}",
	        "{\"root\":{\"path\":\"rootfs\"},\"mounts\":7}",
	        "{\"root\":{\"path\":\"rootfs\"},\"mounts\":[7,{},{\"destination\":\"/"
	        "x\"},{\"destination\":\"/x\","
	        "\"options\":[3]},{\"type\":\"bind\",\"destination\":\"/etc/hosts\"}]}"};
	for (size_t i = 0; i < G_N_ELEMENTS(odd); i++) {
		g_assert_true(file_write_atomic(path, odd[i], strlen(odd[i]), 0644, false, NULL));
		g_assert_true(mount_check_spec(e->dir, &error));
		g_assert_no_error(error);
	}
	// the host's root as the container's
	const char *host = "{\"root\":{\"path\":\"/\"},\"mounts\":[{\"type\":\"tmpfs\",\"source\":\"t\","
	                   "\"destination\":\"/etc/passwd\"}]}";
	g_assert_true(file_write_atomic(path, host, strlen(host), 0644, false, NULL));
	g_assert_false(mount_check_spec(e->dir, &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "cannot mount \"t\" onto \"/etc/passwd\" (tmpfs): the target in the container is a file: "
	        "not a directory: invalid argument");
}

int main(int argc, char **argv)
{
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/mount-check/" name, Env, NULL, setup, fn, teardown)
	ADD("kinds", test_kinds);
	ADD("missing-target", test_missing_target);
	ADD("sources", test_sources);
	ADD("covered", test_covered);
	ADD("types", test_types);
	ADD("idmap", test_idmap);
	ADD("odd", test_odd);
	return g_test_run();
}
