// SPDX-License-Identifier: Apache-2.0

/* The cases of upstream's core/metadata/containers_test.go. */

#include "store/containers.h"
#include "store/test-env.h"

static void set_any(Any *any, const char *type, const char *value)
{
	any_clear(any);
	any->type_url = g_strdup(type);
	any->value = g_bytes_new(value, strlen(value));
}

/* A container out of letters: s spec, u updated spec, n snapshot with snapshotter, N another key, i image,
 * I another, r runtime, R another; k a key without snapshotter. */
static Container *make(const char *id, const char *what, GHashTable *labels, const char *extension)
{
	Container *c = container_new();
	c->id = g_strdup(id);
	if (labels != NULL) {
		g_hash_table_unref(c->labels);
		c->labels = labels;
	}
	for (const char *p = what; *p != '\0'; p++) {
		switch (*p) {
		case 's':
			set_any(&c->spec, "spec", "one");
			break;
		case 'u':
			set_any(&c->spec, "spec", "two");
			break;
		case 'n':
			c->snapshotter = g_strdup("snapshotter");
			c->snapshot_key = g_strdup("test-snapshot-key");
			break;
		case 'N':
			c->snapshotter = g_strdup("snapshotter");
			c->snapshot_key = g_strdup("test2-snapshot-key");
			break;
		case 'k':
			c->snapshot_key = g_strdup("/nosnapshot");
			break;
		case 'i':
			c->image = g_strdup("test image");
			break;
		case 'I':
			c->image = g_strdup("test2 image");
			break;
		case 'r':
			c->runtime_name = g_strdup("testruntime");
			break;
		case 'R':
			c->runtime_name = g_strdup("testruntimedifferent");
			break;
		default:
			g_assert_not_reached();
		}
	}
	if (extension != NULL) {
		Any *any = g_new0(Any, 1);
		set_any(any, "test.update.extensions", extension);
		g_hash_table_insert(c->extensions, g_strdup("hello"), any);
	}
	return c;
}

static bool any_equal(const Any *a, const Any *b)
{
	return g_strcmp0(a->type_url, b->type_url) == 0 &&
	       (a->value == b->value ||
	        (a->value != NULL && b->value != NULL && g_bytes_equal(a->value, b->value)));
}

static void assert_container(const Container *c, const Container *e)
{
	g_assert_cmpstr(c->id, ==, e->id);
	g_assert_true(strmap_equal(c->labels, e->labels));
	g_assert_cmpstr(str_or(c->image, ""), ==, str_or(e->image, ""));
	g_assert_cmpstr(c->runtime_name, ==, e->runtime_name);
	g_assert_true(any_equal(&c->runtime_options, &e->runtime_options));
	g_assert_true(any_equal(&c->spec, &e->spec));
	g_assert_cmpstr(str_or(c->snapshotter, ""), ==, str_or(e->snapshotter, ""));
	g_assert_cmpstr(str_or(c->snapshot_key, ""), ==, str_or(e->snapshot_key, ""));
	g_assert_cmpuint(g_hash_table_size(c->extensions), ==, g_hash_table_size(e->extensions));
	GHashTableIter iter;
	void *name, *any;
	g_hash_table_iter_init(&iter, e->extensions);
	while (g_hash_table_iter_next(&iter, &name, &any))
		g_assert_true(any_equal(g_hash_table_lookup(c->extensions, name), any));
}

#define L(...) test_labels(__VA_ARGS__, NULL)

typedef struct {
	const char *name;
	Container *original, *input, *expected;
	const char *path[3];
	const char *create_error, *error;
} Case;

static void run_case(TestEnv *env, Case *c)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Container) original = c->original, input = c->input, expected = c->expected;
	g_test_message("%s", c->name);
	g_autoptr(Container) created = containers_create(env->db, &env->ctx, original, &error);
	if (c->create_error != NULL) {
		g_assert_null(created);
		g_assert_cmpstr(error->message, ==, c->create_error);
		return;
	}
	g_assert_no_error(error);
	assert_container(created, original);
	g_assert_cmpint(created->created_at, ==, created->updated_at);
	g_autoptr(Container) updated = containers_update(env->db, &env->ctx, input, c->path, &error);
	if (c->error != NULL) {
		g_assert_null(updated);
		g_assert_cmpstr(error->message, ==, c->error);
		return;
	}
	g_assert_no_error(error);
	assert_container(updated, expected);
	g_assert_cmpint(updated->updated_at, >, created->updated_at);
	g_autoptr(Container) got = containers_get(env->db, &env->ctx, c->name, &error);
	assert_container(got, expected);
	g_assert_cmpint(got->created_at, ==, created->created_at);
	g_assert_cmpint(got->updated_at, ==, updated->updated_at);
}

#define C(what, labels, ext) make(NAME, what, labels, ext)
static void test_update(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	Case cases[] = {
	        {.name = "UpdateIDFail",
	         .original = make("UpdateIDFail", "snr", NULL, NULL),
	         .input = make("newid", "sr", NULL, NULL),
	         .path = {"id"},
	         .error = "container \"newid\": not found"},
	        {.name = "UpdateRuntimeFail",
	         .original = make("UpdateRuntimeFail", "snr", NULL, NULL),
	         .input = make("UpdateRuntimeFail", "sR", NULL, NULL),
	         .path = {"runtime"},
	         .error = "cannot update \"runtime\" field on \"UpdateRuntimeFail\": invalid argument"},
	        {.name = "UpdateRuntimeFull",
	         .original = make("UpdateRuntimeFull", "sr", NULL, NULL),
	         .input = make("UpdateRuntimeFull", "sR", NULL, NULL),
	         .error = "container.Runtime.Name field is immutable: invalid argument"},
	        {.name = "UpdateSnapshotterFull",
	         .original = make("UpdateSnapshotterFull", "sr", NULL, NULL),
	         .input = make("UpdateSnapshotterFull", "snr", NULL, NULL),
	         .error = "container.Snapshotter field is immutable: invalid argument"},
	        {.name = "UpdateSpec",
	         .original = make("UpdateSpec", "snri", NULL, NULL),
	         .input = make("UpdateSpec", "u", NULL, NULL),
	         .path = {"spec"},
	         .expected = make("UpdateSpec", "unri", NULL, NULL)},
	        {.name = "ClearSpecFail",
	         .original = make("ClearSpecFail", "snri", NULL, NULL),
	         .input = make("ClearSpecFail", "", NULL, NULL),
	         .path = {"spec"},
	         .error = "update failed validation: container.Spec must be set: invalid argument"},
	        {.name = "UpdateSnapshot",
	         .original = make("UpdateSnapshot", "snri", NULL, NULL),
	         .input = make("UpdateSnapshot", "N", NULL, NULL),
	         .path = {"snapshotkey"},
	         .expected = make("UpdateSnapshot", "sNri", NULL, NULL)},
	        {.name = "UpdateImage",
	         .original = make("UpdateImage", "snri", NULL, NULL),
	         .input = make("UpdateImage", "I", NULL, NULL),
	         .path = {"image"},
	         .expected = make("UpdateImage", "snrI", NULL, NULL)},
	        {.name = "UpdateLabel",
	         .original = make("UpdateLabel", "snri", L("foo", "one", "bar", "two"), NULL),
	         .input = make("UpdateLabel", "", L("bar", "baz"), NULL),
	         .path = {"labels.bar"},
	         .expected = make("UpdateLabel", "snri", L("foo", "one", "bar", "baz"), NULL)},
	        {.name = "DeleteAllLabels",
	         .original = make("DeleteAllLabels", "snri", L("foo", "one", "bar", "two"), NULL),
	         .input = make("DeleteAllLabels", "", NULL, NULL),
	         .path = {"labels"},
	         .expected = make("DeleteAllLabels", "snri", NULL, NULL)},
	        {.name = "DeleteLabel",
	         .original = make("DeleteLabel", "snri", L("foo", "one", "bar", "two"), NULL),
	         .input = make("DeleteLabel", "", L("bar", ""), NULL),
	         .path = {"labels.bar"},
	         .expected = make("DeleteLabel", "snri", L("foo", "one"), NULL)},
	        {.name = "UpdateSnapshotKeyImmutable",
	         .original = make("UpdateSnapshotKeyImmutable", "sr", NULL, NULL),
	         .input = make("UpdateSnapshotKeyImmutable", "n", NULL, NULL),
	         .path = {"snapshotkey", "snapshotter"},
	         .error = "cannot update \"snapshotter\" field on \"UpdateSnapshotKeyImmutable\": invalid "
	                  "argument"},
	        {.name = "SnapshotKeyWithoutSnapshot",
	         .original = make("SnapshotKeyWithoutSnapshot", "skr", NULL, NULL),
	         .create_error = "create container failed validation: container.Snapshotter must be set if "
	                         "container.SnapshotKey is set: invalid argument"},
	        {.name = "NoRuntime",
	         .original = make("NoRuntime", "s", NULL, NULL),
	         .create_error = "create container failed validation: container.Runtime.Name must be set: "
	                         "invalid argument"},
	        {.name = "NoSpec",
	         .original = make("NoSpec", "r", NULL, NULL),
	         .create_error =
	                 "create container failed validation: container.Spec must be set: invalid argument"},
	        {.name = "NoID",
	         .original = make("", "rs", NULL, NULL),
	         .create_error = "create container failed validation: container.ID: identifier must not be "
	                         "empty: invalid argument"},
	        {.name = "UpdateExtensionsFull",
	         .original = make("UpdateExtensionsFull", "sr", NULL, "hello"),
	         .input = make("UpdateExtensionsFull", "sr", NULL, "world"),
	         .expected = make("UpdateExtensionsFull", "sr", NULL, "world")},
	        {.name = "UpdateExtensionsNotInFieldpath",
	         .original = make("UpdateExtensionsNotInFieldpath", "sr", NULL, "hello"),
	         .input = make("UpdateExtensionsNotInFieldpath", "sr", NULL, "world"),
	         .path = {"labels"},
	         .expected = make("UpdateExtensionsNotInFieldpath", "sr", NULL, "hello")},
	        {.name = "UpdateExtensionsFieldPath",
	         .original = make("UpdateExtensionsFieldPath", "sr", NULL, "hello"),
	         .input = make("UpdateExtensionsFieldPath", "", L("foo", "one"), "world"),
	         .path = {"extensions"},
	         .expected = make("UpdateExtensionsFieldPath", "sr", NULL, "world")},
	        {.name = "ClearExtension",
	         .original = make("ClearExtension", "sr", NULL, "hello"),
	         .input = make("ClearExtension", "", NULL, NULL),
	         .path = {"extensions.hello"},
	         .expected = make("ClearExtension", "sr", NULL, NULL)},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		run_case(env, &cases[i]);
}

static void test_extension_isolated(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	Case c = {.name = "UpdateExtensionsFieldPathIsolated",
	          .original = make("UpdateExtensionsFieldPathIsolated", "sr", NULL, "hello"),
	          .input = make("UpdateExtensionsFieldPathIsolated", "", NULL, "universe"),
	          .path = {"extensions.bar"},
	          .expected = make("UpdateExtensionsFieldPathIsolated", "sr", NULL, "hello")};
	Container *both[] = {c.input, c.expected};
	for (int i = 0; i < 2; i++) {
		Any *bar = g_new0(Any, 1);
		set_any(bar, "test.update.extensions", "foo");
		g_hash_table_insert(both[i]->extensions, g_strdup("bar"), bar);
	}
	run_case(env, &c);
}

static void assert_list(TestEnv *env, const char *const *filters, const char *expected)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) list = containers_list(env->db, &env->ctx, filters, &error);
	g_assert_no_error(error);
	g_autoptr(GString) ids = g_string_new(NULL);
	for (guint i = 0; i < list->len; i++)
		g_string_append_printf(ids, "%s%s", i > 0 ? " " : "", ((Container *)list->pdata[i])->id);
	g_assert_cmpstr(ids->str, ==, expected);
}

static void test_list(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	for (int i = 0; i < 4; i++) {
		g_autofree char *id = g_strdup_printf("container-%d", i);
		g_autoptr(Container) c = make(id, "snri",
		                              L("idlabel", id, "even", i % 2 == 0 ? "true" : "false", "odd",
		                                i % 2 != 0 ? "true" : "false"),
		                              NULL);
		g_autoptr(Container) created = containers_create(env->db, &env->ctx, c, &error);
		g_assert_nonnull(created);
		g_assert_no_error(error);
	}
	static const char all[] = "container-0 container-1 container-2 container-3";
	assert_list(env, NULL, all);
	assert_list(env, (const char *[]){"labels.even==true", "labels.odd==true", NULL}, all);
	assert_list(env, (const char *[]){"labels.even==true", NULL}, "container-0 container-2");
	assert_list(env, (const char *[]){"labels.odd==true", NULL}, "container-1 container-3");
	assert_list(env, (const char *[]){"id==container-0", NULL}, "container-0");
	assert_list(env, (const char *[]){"labels.idlabel==container-0,labels.even==true", NULL},
	            "container-0");
	assert_list(env, (const char *[]){"runtime.name==testruntime", NULL}, all);
	assert_list(env, (const char *[]){"image==\"test image\",id!=container-0", NULL},
	            "container-1 container-2 container-3");
	g_autoptr(Container) again = make("container-0", "sr", NULL, NULL);
	g_assert_null(containers_create(env->db, &env->ctx, again, &error));
	assert_error(error, CTRD_ERR_ALREADY_EXISTS, "container \"container-0\": already exists");
	for (int i = 0; i < 4; i++) {
		g_autofree char *id = g_strdup_printf("container-%d", i);
		g_assert_true(containers_delete(env->db, &env->ctx, id, &error));
		g_assert_false(containers_delete(env->db, &env->ctx, id, &error));
		g_autofree char *text = g_strdup_printf("container %s: not found", id);
		assert_error(error, CTRD_ERR_NOT_FOUND, text);
	}
	g_assert_null(containers_get(env->db, &env->ctx, "container-0", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND,
	             "container \"container-0\" in namespace \"testing\": not found");
	g_assert_cmpuint(env->events->len, ==, 8);
	g_assert_cmpstr(env->events->pdata[0], ==, "0 testing container-0 image=test image");
	g_assert_cmpstr(env->events->pdata[4], ==, "2 testing container-0");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/containers/update", test_update);
	g_test_add_func("/containers/extension-isolated", test_extension_isolated);
	g_test_add_func("/containers/list", test_list);
	return g_test_run();
}
