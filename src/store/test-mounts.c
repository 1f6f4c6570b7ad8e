// SPDX-License-Identifier: Apache-2.0

/* The mount manager; cases of upstream's core/mount/manager/manager_test.go and more. Handlers are fakes
 * whose "mount" is a file, so that failures can be had when they are wanted. */

#include "base/process.h"
#include "loop/thread.h"
#include "mount/test-private-ns.h"
#include "store/gc-private.h"
#include "store/leases.h"
#include "store/meta-private.h"
#include "store/mounts.h"
#include "store/test-env.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define STRV(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- a handler ---- */

static struct {
	const char *fail_mount; // source whose mount fails
	gint fail_unmount;      // atomic
	Lock lock;
	GString *log; // "+<name> -<name> " by the last component
	gint slow;    // sleeping in mount, for races
} fake;

static void note(char sign, const char *point)
{
	LOCK_SCOPE(&fake.lock);
	g_autofree char *name = g_path_get_basename(point);
	g_string_append_printf(fake.log, "%c%s ", sign, name);
}

static ActiveMount *fake_mount(const Mount *m, const char *point, GPtrArray *active, GError **error)
{
	if (g_atomic_int_get(&fake.slow))
		g_usleep(20000);
	if (g_strcmp0(m->source, fake.fail_mount) == 0) {
		error_set(error, CTRD_ERR_UNKNOWN, "cannot");
		return NULL;
	}
	if (!file_write_atomic(point, "x", 1, 0600, false, error))
		return NULL;
	note('+', point);
	ActiveMount *a = active_mount_new(mount_copy(m), point);
	a->data = test_labels("n", "1", NULL);
	return a;
}

static bool fake_unmount(const char *point, GError **error)
{
	if (g_atomic_int_get(&fake.fail_unmount))
		return error_set(error, CTRD_ERR_UNKNOWN, "busy %s", point);
	if (unlink(point) == 0)
		note('-', point);
	return true;
}

static bool fake_is_mounted(const Mount *m, const char *point)
{
	return path_exists(point);
}

static const MountHandler fake_handler = {"fake", fake_mount, fake_unmount, fake_is_mounted};

static void assert_log(const char *want)
{
	LOCK_SCOPE(&fake.lock);
	g_assert_cmpstr(fake.log->str, ==, want);
	g_string_truncate(fake.log, 0);
}

/* ---- a manager ---- */

typedef struct {
	TestEnv *env;
	char *dir;
	GHashTable *handlers;
	Gc *gc;
	MountManager *m;
} World;

static void world_start(World *w)
{
	g_autoptr(GError) error = NULL;
	GcOptions options = {.pause_threshold = 0.02};
	w->gc = gc_new(w->env->db, NULL, NULL, &options);
	w->m = mount_manager_new(w->env->db, w->gc, w->dir, w->env->dir, w->handlers, &error);
	g_assert_no_error(error);
}

static void world_stop(World *w)
{
	g_clear_pointer(&w->m, mount_manager_free);
	g_clear_pointer(&w->gc, gc_free);
}

static void setup(World *w, gconstpointer data)
{
	fake.fail_mount = NULL;
	g_atomic_int_set(&fake.fail_unmount, 0);
	g_atomic_int_set(&fake.slow, 0);
	g_string_truncate(fake.log, 0);
	w->env = test_env_new(NULL);
	w->dir = g_build_filename(w->env->dir, "t", NULL);
	w->handlers = g_hash_table_new(g_str_hash, g_str_equal);
	g_hash_table_insert(w->handlers, (char *)"fake", (void *)&fake_handler);
	world_start(w);
	g_autoptr(Lease) lease = leases_create(w->env->db, &w->env->ctx, "keep", NULL, NULL);
	w->env->ctx.lease = "keep"; // else the collector may be quicker than the test
}

static void teardown(World *w, gconstpointer data)
{
	world_stop(w);
	mount_unmount_recursive(w->dir, 0, NULL);
	g_hash_table_unref(w->handlers);
	g_free(w->dir);
	test_env_free(w->env);
}

static GPtrArray *mounts_of(const char *const *types)
{
	GPtrArray *mounts = mounts_new();
	for (int i = 0; types[i] != NULL; i++) {
		g_autofree char *source = g_strdup_printf("s%d", i);
		g_ptr_array_add(mounts, mount_new(types[i], source, NULL, STRV("o")));
	}
	return mounts;
}

static Activation *activate(World *w, const char *name, GPtrArray *mounts, GHashTable *labels, GError **error)
{
	ActivateOptions options = {.labels = labels};
	return mount_manager_activate(w->m, &w->env->ctx, name, mounts, &options, error);
}

static void assert_active(World *w, const char *name, const char *const *types)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) mounts = mounts_of(types);
	g_autoptr(Activation) a = activate(w, name, mounts, NULL, &error);
	g_assert_no_error(error);
}

static guint n_dirs(World *w)
{
	g_autoptr(GPtrArray) names = dir_list(w->dir, 0, NULL);
	return names->len;
}

static guint n_listed(World *w)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) list = mount_manager_list(w->m, &w->env->ctx, NULL, &error);
	g_assert_no_error(error);
	return list->len;
}

/* ---- activate ---- */

static void test_activate(World *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) mounts = mounts_of(STRV("fake", "fake", "format/ext4", "bind"));
	Mount *third = mounts->pdata[2];
	g_free(third->source);
	third->source = g_strdup("{{ mount 1 }}");
	g_autoptr(GHashTable) labels = test_labels("a", "b", NULL);
	g_assert_true(mount_manager_wants(w->m, mounts));
	g_autoptr(Activation) a = activate(w, "one", mounts, labels, &error);
	g_assert_no_error(error);
	assert_log("+1 +2 ");
	g_assert_cmpstr(a->name, ==, "one");
	g_assert_cmpuint(a->active->len, ==, 2);
	g_assert_cmpuint(a->system->len, ==, 2);
	const ActiveMount *second = a->active->pdata[1];
	const Mount *ext4 = a->system->pdata[0];
	g_assert_cmpstr(ext4->type, ==, "ext4");
	g_assert_cmpstr(ext4->source, ==, second->point);
	g_assert_cmpstr(third->type, ==, "format/ext4"); // the caller's are as they were

	// what is remembered is what was answered
	g_autoptr(Activation) info = mount_manager_info(w->m, &w->env->ctx, "one", &error);
	g_assert_no_error(error);
	g_assert_cmpuint(info->active->len, ==, 2);
	g_assert_cmpuint(info->system->len, ==, 2);
	const ActiveMount *known = info->active->pdata[1];
	g_assert_cmpstr(known->mount->type, ==, "fake");
	g_assert_cmpstr(known->mount->source, ==, "s1");
	g_assert_cmpstr(known->mount->options[0], ==, "o");
	g_assert_cmpstr(known->point, ==, second->point);
	g_assert_cmpint(known->mounted_at, ==, second->mounted_at);
	assert_strmap(known->data, test_labels("n", "1", NULL));
	assert_strmap(info->labels, test_labels("a", "b", NULL));
	g_assert_cmpstr(((Mount *)info->system->pdata[0])->source, ==, second->point);

	g_assert_null(activate(w, "one", mounts, NULL, &error));
	assert_error(error, CTRD_ERR_ALREADY_EXISTS, "mount \"one\": already exists");
	g_assert_true(mount_manager_deactivate(w->m, &w->env->ctx, "one", &error));
	assert_log("-2 -1 ");
	g_assert_cmpuint(n_dirs(w), ==, 0);
	g_assert_false(mount_manager_deactivate(w->m, &w->env->ctx, "one", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "missing mount \"one\" bucket: not found");
	g_assert_null(mount_manager_info(w->m, &w->env->ctx, "one", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "mount \"one\" not found");
}

static void test_not_needed(World *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) plain = mounts_of(STRV("bind", "overlay"));
	g_assert_false(mount_manager_wants(w->m, plain));
	g_assert_null(activate(w, "one", plain, NULL, &error));
	assert_error(error, CTRD_ERR_NOT_IMPLEMENTED, "not implemented");

	// the caller does them
	g_autoptr(GPtrArray) some = mounts_of(STRV("fake", "format/ext4"));
	ActivateOptions all = {.allow_types = STRV("fake", "format/*")};
	g_assert_null(mount_manager_activate(w->m, &w->env->ctx, "one", some, &all, &error));
	assert_error(error, CTRD_ERR_NOT_IMPLEMENTED, "not implemented");
	ActivateOptions exact = {.allow_types = STRV("fake", "format/ext4")};
	g_assert_null(mount_manager_activate(w->m, &w->env->ctx, "one", some, &exact, &error));
	assert_error(error, CTRD_ERR_NOT_IMPLEMENTED, "not implemented");
	// but what follows is ours, so what is before it must be too
	ActivateOptions format = {.allow_types = STRV("format/*")};
	g_autoptr(Activation) a = mount_manager_activate(w->m, &w->env->ctx, "one", some, &format, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(a->active->len, ==, 1);
	g_assert_cmpstr(((Mount *)a->system->pdata[0])->type, ==, "format/ext4");
	assert_log("+1 ");

	g_autoptr(GPtrArray) none = mounts_new();
	g_assert_null(activate(w, "two", none, NULL, &error));
	assert_error(error, CTRD_ERR_NOT_IMPLEMENTED, "not implemented");
}

static void test_bad_input(World *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) mounts = mounts_of(STRV("fake"));
	ActivateOptions options = {0};
	g_assert_null(mount_manager_activate(w->m, &(Ctx){0}, "x", mounts, &options, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, "namespace is required: failed precondition");
	g_assert_null(activate(w, "", mounts, NULL, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT, "mount name is required: invalid argument");
	g_autoptr(GPtrArray) many = mounts_new();
	for (int i = 0; i < 256; i++)
		g_ptr_array_add(many, mount_new("fake", "s", NULL, NULL));
	g_assert_null(activate(w, "x", many, NULL, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT,
	             "too many mounts (256): maximum 255: invalid argument");
	g_autofree char *big = g_strnfill(5000, 'x');
	g_autoptr(GHashTable) labels = test_labels("k", big, NULL);
	g_assert_null(activate(w, "x", mounts, labels, &error));
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	g_assert_cmpuint(n_dirs(w) + n_listed(w), ==, 0);
}

/* The third fails: the others are taken away, and the name is free. */
static void test_mount_fails(World *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) mounts = mounts_of(STRV("fake", "fake", "fake"));
	fake.fail_mount = "s2";
	g_assert_null(activate(w, "one", mounts, NULL, &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "mount handler failed {fake s2  [o]}: cannot");
	assert_log("+1 +2 -2 -1 ");
	g_assert_cmpuint(n_dirs(w) + n_listed(w), ==, 0);

	// and when they cannot be taken away the collector does it later
	g_atomic_int_set(&fake.fail_unmount, 1);
	g_assert_null(activate(w, "one", mounts, NULL, &error));
	g_clear_error(&error);
	g_assert_cmpuint(n_listed(w), ==, 0);
	g_assert_cmpuint(n_dirs(w), ==, 1);
	g_atomic_int_set(&fake.fail_unmount, 0);
	assert_log("+1 +2 ");
	g_assert_true(gc_run(w->gc, &w->env->ctx, &error));
	assert_log("-2 -1 ");
	g_assert_cmpuint(n_dirs(w), ==, 0);

	fake.fail_mount = NULL;
	g_autoptr(GPtrArray) template = mounts_of(STRV("fake", "format/bind"));
	g_free(((Mount *)template->pdata[1])->source);
	((Mount *)template->pdata[1])->source = g_strdup("{{ mount 9 }}");
	g_assert_null(activate(w, "one", template, NULL, &error));
	assert_error(error, CTRD_ERR_UNKNOWN,
	             "template: :1:3: executing \"\" at <mount 9>: error calling mount: index out of bounds: "
	             "9, has 1 active mounts");
	assert_log("+1 -1 ");
	g_assert_cmpuint(n_dirs(w) + n_listed(w), ==, 0);
}

static void test_deactivate_fails(World *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	assert_active(w, "one", STRV("fake"));
	w->env->ctx.lease = NULL;
	g_atomic_int_set(&fake.fail_unmount, 1);
	g_assert_false(mount_manager_deactivate(w->m, &w->env->ctx, "one", &error));
	g_autofree char *text =
	        g_strdup_printf("unmount all failed during cleanup up %s/1: busy %s/1/1", w->dir, w->dir);
	assert_error(error, CTRD_ERR_UNKNOWN, text);
	g_assert_cmpuint(n_listed(w), ==, 0);
	assert_active(w, "one", STRV("fake")); // the name is free
	g_assert_true(gc_run(w->gc, &w->env->ctx, &error));
	g_atomic_int_set(&fake.fail_unmount, 0);
	assert_log("+1 +1 ");
	// still in the way: tried again by each collection until it works
	g_assert_true(gc_run(w->gc, &w->env->ctx, &error));
	assert_log("-1 -1 "); // the second had no owner
	g_assert_cmpuint(n_dirs(w), ==, 0);
}

/* ---- lists, labels ---- */

static void test_update_and_list(World *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) mounts = mounts_of(STRV("fake"));
	g_autoptr(GHashTable) red = test_labels("color", "red", NULL);
	g_autoptr(GHashTable) blue = test_labels("color", "blue", NULL);
	g_autoptr(Activation) b = activate(w, "b", mounts, red, &error);
	g_autoptr(Activation) a = activate(w, "a", mounts, blue, &error);
	g_assert_no_error(error);
	g_autoptr(GPtrArray) all = mount_manager_list(w->m, &w->env->ctx, NULL, &error);
	g_assert_cmpuint(all->len, ==, 2);
	g_assert_cmpstr(((Activation *)all->pdata[0])->name, ==, "a");
	g_autoptr(GPtrArray) some =
	        mount_manager_list(w->m, &w->env->ctx, STRV("labels.color==red", "name==none"), &error);
	g_assert_cmpuint(some->len, ==, 1);
	g_assert_cmpstr(((Activation *)some->pdata[0])->name, ==, "b");
	g_assert_null(mount_manager_list(w->m, &w->env->ctx, STRV("name><x"), &error));
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	g_clear_error(&error);
	g_autoptr(GPtrArray) other = mount_manager_list(w->m, &(Ctx){.ns = "other"}, NULL, &error);
	g_assert_cmpuint(other->len, ==, 0);

	Activation input = {.name = (char *)"a", .labels = red};
	g_autoptr(Activation) updated =
	        mount_manager_update(w->m, &w->env->ctx, &input, STRV("labels.color"), &error);
	g_assert_no_error(error);
	assert_strmap(updated->labels, test_labels("color", "red", NULL));
	g_autoptr(GHashTable) size = test_labels("size", "9", NULL);
	input.labels = size;
	g_autoptr(Activation) replaced = mount_manager_update(w->m, &w->env->ctx, &input, NULL, &error);
	g_autoptr(Activation) info = mount_manager_info(w->m, &w->env->ctx, "a", &error);
	assert_strmap(info->labels, test_labels("size", "9", NULL));
	g_assert_null(mount_manager_update(w->m, &w->env->ctx, &input, STRV("active"), &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT,
	             "cannot update active field on mount \"a\": invalid argument");
	input.name = (char *)"zz";
	g_assert_null(mount_manager_update(w->m, &w->env->ctx, &input, NULL, &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "mount \"zz\" not found");
}

/* ---- who keeps what ---- */

static bool insert_container_tx(MetaTx *tx, void *data, GError **error)
{
	return meta_run(tx, error,
	                "INSERT INTO container(ns, name, image, runtime, snapshotter, snapshot_key, sandbox, "
	                "created, updated) VALUES ('testing', 'c', '', 'r', '', '', '', 1, 1)",
	                "");
}

static bool insert_image_tx(MetaTx *tx, void *data, GError **error)
{
	return meta_run(tx, error,
	                "INSERT INTO image(ns, name, digest, media_type, size, created, updated)"
	                " VALUES ('testing', 'i', 'd', 'm', 1, 1, 1)",
	                "") &&
	       meta_run(tx, error,
	                "INSERT INTO label VALUES (2, ?, 'containerd.io/gc.ref.mount.view', 'referred')", "i",
	                meta_tx_last_id(tx));
}

static bool delete_all_tx(MetaTx *tx, void *data, GError **error)
{
	meta_tx_dirty(tx, NULL);
	return meta_run(tx, error, "DELETE FROM container", "") &&
	       meta_run(tx, error, "DELETE FROM image", "");
}

static void test_gc(World *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	TestEnv *env = w->env;
	env->ctx.lease = NULL;
	g_assert_true(meta_update(env->db, insert_container_tx, NULL, &error));
	g_assert_true(meta_update(env->db, insert_image_tx, NULL, &error));
	g_autoptr(Lease) lease = leases_create(env->db, &env->ctx, "l", NULL, &error);
	g_assert_no_error(error);
	g_autoptr(GPtrArray) mounts = mounts_of(STRV("fake"));
	g_autoptr(GHashTable) by_container = test_labels("containerd.io/gc.bref.container", "c", NULL);
	g_autoptr(GHashTable) by_named = test_labels("containerd.io/gc.bref.container.rootfs", "c", NULL);
	g_autoptr(GHashTable) by_none = test_labels("containerd.io/gc.bref.image", "gone", NULL);
	g_autoptr(Activation) a = activate(w, "container", mounts, by_container, &error);
	g_autoptr(Activation) b = activate(w, "named", mounts, by_named, &error);
	g_autoptr(Activation) c = activate(w, "none", mounts, by_none, &error);
	g_autoptr(Activation) d = activate(w, "nobody", mounts, NULL, &error);
	g_autoptr(Activation) r = activate(w, "referred", mounts, NULL, &error);
	Ctx leased = {.ns = "testing", .lease = "l"};
	ActivateOptions plain = {0};
	g_autoptr(Activation) e = mount_manager_activate(w->m, &leased, "leased", mounts, &plain, &error);
	Ctx elsewhere = {.ns = "elsewhere", .lease = "l"}; // where there is no such lease
	g_autoptr(Activation) f = mount_manager_activate(w->m, &elsewhere, "f", mounts, &plain, &error);
	g_assert_no_error(error);

	g_assert_true(gc_run(w->gc, &env->ctx, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(n_dirs(w), ==, 4);
	g_assert_cmpuint(n_listed(w), ==, 4);
	g_autoptr(Activation) kept = mount_manager_info(w->m, &env->ctx, "leased", &error);
	g_assert_no_error(error);

	g_assert_true(leases_delete(env->db, &env->ctx, "l", &error));
	g_assert_true(meta_update(env->db, delete_all_tx, NULL, &error));
	g_assert_true(gc_run(w->gc, &env->ctx, &error));
	g_assert_cmpuint(n_dirs(w) + n_listed(w), ==, 0);
}

/* ---- crashes ---- */

static bool half_tx(MetaTx *tx, void *data, GError **error)
{
	return meta_run(tx, error, "UPDATE mount SET active = 0 WHERE name = 'half'", "");
}

/* half: killed before it was complete; gone: its mounts did not survive; a directory without a row: killed
 * while it was deactivated. */
static void test_recover(World *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	assert_active(w, "half", STRV("fake", "fake"));
	assert_active(w, "gone", STRV("fake", "fake"));
	assert_active(w, "fine", STRV("fake"));
	g_autoptr(Activation) gone = mount_manager_info(w->m, &w->env->ctx, "gone", &error);
	world_stop(w);
	g_assert_true(meta_update(w->env->db, half_tx, NULL, &error));
	g_assert_cmpint(unlink(((ActiveMount *)gone->active->pdata[1])->point), ==, 0);
	g_autofree char *unnamed = g_build_filename(w->dir, "77", NULL);
	g_assert_true(dir_make_all(unnamed, 0700, NULL));
	g_autofree char *point = g_build_filename(unnamed, "3", NULL);
	g_autofree char *type = g_build_filename(unnamed, "3-type", NULL);
	g_assert_true(file_write_atomic(point, "x", 1, 0600, false, NULL));
	g_assert_true(file_write_atomic(type, "fake", 4, 0600, false, NULL));
	g_string_truncate(fake.log, 0);

	world_start(w);
	g_assert_cmpuint(n_listed(w), ==, 1);
	g_assert_cmpuint(n_dirs(w), ==, 1);
	assert_log("-2 -1 -1 -3 ");
	g_autoptr(Activation) fine = mount_manager_info(w->m, &w->env->ctx, "fine", &error);
	g_assert_no_error(error);
	assert_active(w, "half", STRV("fake")); // the names are free
	assert_active(w, "gone", STRV("fake"));
}

/* The daemon starts although something cannot be unmounted. */
static void test_recover_busy(World *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	assert_active(w, "half", STRV("fake"));
	world_stop(w);
	g_assert_true(meta_update(w->env->db, half_tx, NULL, &error));
	g_atomic_int_set(&fake.fail_unmount, 1);
	world_start(w);
	g_assert_cmpuint(n_listed(w), ==, 0);
	g_assert_cmpuint(n_dirs(w), ==, 1);
	g_atomic_int_set(&fake.fail_unmount, 0);
	g_assert_true(gc_run(w->gc, &w->env->ctx, &error));
	g_assert_cmpuint(n_dirs(w), ==, 0);
}

/* ---- at once ---- */

typedef struct {
	World *w;
	int n;
	gint ok, exists;
} Racers;

static void *race(void *data)
{
	Racers *r = data;
	for (int i = 0; i < r->n; i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GPtrArray) mounts = mounts_of(STRV("fake", "fake"));
		g_autoptr(Activation) a = activate(r->w, "same", mounts, NULL, &error);
		if (a == NULL) {
			g_assert_true(error_is(error, CTRD_ERR_ALREADY_EXISTS));
			g_atomic_int_inc(&r->exists);
			continue;
		}
		g_assert_cmpuint(a->active->len, ==, 2);
		g_atomic_int_inc(&r->ok);
		// the collector may have been quicker
		if (!mount_manager_deactivate(r->w->m, &r->w->env->ctx, "same", &error))
			g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	}
	return NULL;
}

static void *collect(void *data)
{
	Racers *r = data;
	for (int i = 0; i < 5; i++)
		g_assert_true(gc_run(r->w->gc, &r->w->env->ctx, NULL));
	return NULL;
}

static void test_race(World *w, gconstpointer data)
{
	g_atomic_int_set(&fake.slow, 1);
	Racers r = {.w = w, .n = 4};
	pthread_t threads[5];
	for (int i = 0; i < 4; i++)
		g_assert_cmpint(pthread_create(&threads[i], NULL, race, &r), ==, 0);
	g_assert_cmpint(pthread_create(&threads[4], NULL, collect, &r), ==, 0);
	for (int i = 0; i < 5; i++)
		pthread_join(threads[i], NULL);
	g_assert_cmpint(r.ok + r.exists, ==, 16);
	g_assert_cmpint(r.ok, >, 0);
	g_autoptr(GError) error = NULL;
	g_assert_true(gc_run(w->gc, &w->env->ctx, &error));
	g_assert_cmpuint(n_dirs(w) + n_listed(w), ==, 0);
}

/* ---- kill -9 at any moment ---- */

#define CRASH_ROUNDS 12

/* Activates and deactivates until it is killed; says when it has begun. */
G_GNUC_NORETURN static void crash_child(const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "meta.sqlite", NULL);
	g_autofree char *targets = g_build_filename(dir, "t", NULL);
	MetaDb *db = meta_open(path, &(MetaOptions){.no_sync = true, .open_timeout_ns = NS_PER_SEC}, NULL);
	g_autoptr(GHashTable) handlers = g_hash_table_new(g_str_hash, g_str_equal);
	g_hash_table_insert(handlers, (char *)"fake", (void *)&fake_handler);
	MountManager *m = mount_manager_new(db, NULL, targets, dir, handlers, NULL);
	const Ctx ctx = {.ns = "testing", .lease = "keep"};
	const ActivateOptions options = {0};
	g_autoptr(GPtrArray) mounts = mounts_of(STRV("fake", "fake", "fake"));
	fd_write_all(1, "x", 1, NULL);
	for (;;) {
		g_autofree char *name = g_strdup_printf("m%d", g_random_int_range(0, 4));
		g_autoptr(Activation) a = mount_manager_activate(m, &ctx, name, mounts, &options, NULL);
		if (a == NULL)
			mount_manager_deactivate(m, &ctx, name, NULL);
	}
}

static void run_crash_child(const char *dir)
{
	int out[2];
	g_autoptr(GError) error = NULL;
	g_assert_cmpint(pipe2(out, O_CLOEXEC), ==, 0);
	pid_t pid = process_spawn(STRV("/proc/self/exe", "--crash-child", dir), NULL, NULL, -1, out[1], 2,
	                          false, &error);
	g_assert_no_error(error);
	close(out[1]);
	char c;
	g_assert_cmpint(read(out[0], &c, 1), ==, 1);
	close(out[0]);
	g_usleep((gulong)g_random_int_range(0, 30000));
	kill(pid, SIGKILL);
	g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

static void test_crash(World *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	for (int round = 0; round < CRASH_ROUNDS; round++) {
		world_stop(w);
		meta_close(g_steal_pointer(&w->env->db));
		run_crash_child(w->env->dir);
		test_env_open(w->env, NULL);
		world_start(w);
		// every row has all of its mounts, every directory a row
		g_autoptr(GPtrArray) list = mount_manager_list(w->m, &w->env->ctx, NULL, &error);
		g_assert_no_error(error);
		g_assert_cmpuint(list->len, ==, n_dirs(w));
		for (guint i = 0; i < list->len; i++) {
			const Activation *a = list->pdata[i];
			g_assert_cmpuint(a->active->len, ==, 3);
			for (guint k = 0; k < 3; k++)
				g_assert_true(path_exists(((ActiveMount *)a->active->pdata[k])->point));
		}
	}
}

/* ---- the kernel's mounts ---- */

static void test_temporary(World *w, gconstpointer data)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *lower = g_build_filename(w->env->dir, "lower", NULL);
	g_autofree char *upper = g_build_filename(w->env->dir, "upper", NULL);
	g_assert_true(dir_make_all(lower, 0755, NULL));
	g_autofree char *file = g_build_filename(lower, "f", NULL);
	g_assert_true(file_write_atomic(file, "x", 1, 0600, false, NULL));
	g_autoptr(GPtrArray) mounts = mounts_new();
	g_autofree char *mkdir = g_strdup_printf("X-containerd.mkdir.path=%s:0750", upper);
	g_ptr_array_add(mounts, mount_new("bind", lower, NULL, STRV("rbind")));
	g_ptr_array_add(mounts,
	                mount_new("mkdir/format/bind", "{{ mount 0 }}", NULL, STRV("rbind", "ro", mkdir)));
	ActivateOptions options = {.temporary = true};
	g_autoptr(Activation) a = mount_manager_activate(w->m, &w->env->ctx, "tmp", mounts, &options, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(a->active->len, ==, 2);
	g_assert_cmpuint(a->system->len, ==, 1);
	const Mount *bind = a->system->pdata[0];
	const ActiveMount *last = a->active->pdata[1];
	g_assert_cmpstr(bind->type, ==, "bind");
	g_assert_cmpstr(bind->source, ==, last->point);
	g_assert_cmpstr(bind->options[0], ==, "rbind");
	g_autofree char *seen = g_build_filename(last->point, "f", NULL);
	g_assert_true(path_exists(seen));
	struct stat st;
	g_assert_cmpint(stat(upper, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0750);

	world_stop(w); // a restart finds them mounted
	world_start(w);
	g_autoptr(Activation) info = mount_manager_info(w->m, &w->env->ctx, "tmp", &error);
	g_assert_no_error(error);
	world_stop(w); // a reboot does not
	g_assert_true(mount_unmount_recursive(w->dir, 0, &error));
	world_start(w);
	g_assert_null(mount_manager_info(w->m, &w->env->ctx, "tmp", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "mount \"tmp\" not found");
	g_assert_cmpuint(n_dirs(w), ==, 0);
	g_assert_true(path_exists(file)); // and nothing below was removed
}

int main(int argc, char **argv)
{
	lock_init(&fake.lock, "fake", LOCK_RANK_LEAF);
	fake.log = g_string_new(NULL);
	if (argc == 3 && g_str_equal(argv[1], "--crash-child"))
		crash_child(argv[2]);
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/mounts/" name, World, NULL, setup, fn, teardown)
	ADD("activate", test_activate);
	ADD("not-needed", test_not_needed);
	ADD("bad-input", test_bad_input);
	ADD("mount-fails", test_mount_fails);
	ADD("deactivate-fails", test_deactivate_fails);
	ADD("update-and-list", test_update_and_list);
	ADD("gc", test_gc);
	ADD("recover", test_recover);
	ADD("recover-busy", test_recover_busy);
	ADD("race", test_race);
	ADD("crash", test_crash);
	ADD("temporary", test_temporary);
	return g_test_run();
}
