// SPDX-License-Identifier: Apache-2.0

/* The cases of upstream's core/metadata/images_test.go, and what it does not ask. */

#include "base/digest.h"
#include "store/images.h"
#include "store/leases.h"
#include "store/test-env.h"

static char *digest_of(const char *name, int64_t size)
{
	g_autofree char *text = g_strdup_printf("%s-%" G_GINT64_FORMAT, name, size);
	return digest_bytes(text, strlen(text));
}

/* labels and annotations: NULL for none; both are taken. */
static Image *make(const char *name, GHashTable *labels, int64_t size, const char *media_type,
                   GHashTable *annotations)
{
	Image *image = image_new();
	image->name = g_strdup(name);
	if (labels != NULL) {
		g_hash_table_unref(image->labels);
		image->labels = labels;
	}
	image->target.size = size;
	image->target.media_type = g_strdup(media_type);
	image->target.digest = digest_of(name, size);
	image->target.annotations = annotations;
	return image;
}

#define BLAB "application/vnd.oci.blab"
#define L(...) test_labels(__VA_ARGS__, NULL)
#define BASE_LABELS L("foo", "bar", "baz", "boo")

static Image *base(const char *name)
{
	return make(name, BASE_LABELS, 10, BLAB, L("foo", "bar", "baz", "boo"));
}

static void assert_image(const Image *image, const Image *expected)
{
	g_assert_cmpstr(image->name, ==, expected->name);
	g_assert_true(strmap_equal(image->labels, expected->labels));
	g_assert_cmpstr(image->target.digest, ==, expected->target.digest);
	g_assert_cmpstr(image->target.media_type, ==, expected->target.media_type);
	g_assert_cmpint(image->target.size, ==, expected->target.size);
	g_assert_true(strmap_equal(image->target.annotations, expected->target.annotations));
}

typedef struct {
	const char *name;
	const char *path[3];
	Image *input, *expected;
	const char *error; // of the update
} Case;

static void run_case(TestEnv *env, Case *c)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Image) original = base(c->name), input = c->input, expected = c->expected;
	TimeNs before = time_now();
	g_autoptr(Image) created = images_create(env->db, &env->ctx, original, 0, &error);
	g_assert_no_error(error);
	assert_image(created, original);
	g_assert_cmpint(created->created_at, >=, before);
	g_assert_cmpint(created->created_at, ==, created->updated_at);

	g_autoptr(Image) updated = images_update(env->db, &env->ctx, input, c->path, 0, &error);
	if (c->error != NULL) {
		g_assert_null(updated);
		g_assert_cmpstr(error->message, ==, c->error);
		return;
	}
	g_assert_no_error(error);
	assert_image(updated, expected);
	g_assert_cmpint(updated->created_at, ==, created->created_at);
	g_assert_cmpint(updated->updated_at, >, created->updated_at);
	g_autoptr(Image) got = images_get(env->db, &env->ctx, c->name, &error);
	assert_image(got, expected);
	g_assert_cmpint(got->created_at, ==, created->created_at);
	g_assert_cmpint(got->updated_at, ==, updated->updated_at);

	bool same = strcmp(original->target.digest, got->target.digest) == 0;
	bool deleted = images_delete(env->db, &env->ctx, c->name, &original->target, &error);
	g_assert_true(deleted == same);
	if (!same) {
		g_autofree char *text = g_strdup_printf("image \"%s\" has target %s, not %s: not found",
		                                        c->name, got->target.digest, original->target.digest);
		assert_error(error, CTRD_ERR_NOT_FOUND, text);
	}
}

static void test_update(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	Case cases[] = {
	        {.name = "Touch",
	         .input = make("Touch", BASE_LABELS, 10, BLAB, L("foo", "bar")),
	         .expected = make("Touch", BASE_LABELS, 10, BLAB, L("foo", "bar"))},
	        {.name = "ReplaceLabels",
	         .input = make("ReplaceLabels", L("for", "bar", "boo", "boo"), 10, BLAB, L("foo", "bar")),
	         .expected = make("ReplaceLabels", L("for", "bar", "boo", "boo"), 10, BLAB, L("foo", "bar"))},
	        {.name = "ReplaceLabelsFieldPath",
	         .path = {"labels"},
	         .input = make("ReplaceLabelsFieldPath", L("for", "bar", "boo", "boo"), 10, BLAB "+ignored",
	                       L("not", "bar", "new", "boo")),
	         .expected = make("ReplaceLabelsFieldPath", L("for", "bar", "boo", "boo"), 10, BLAB,
	                          L("foo", "bar", "baz", "boo"))},
	        {.name = "ReplaceLabelsAnnotationsFieldPath",
	         .path = {"annotations", "labels"},
	         .input = make("ReplaceLabelsAnnotationsFieldPath", L("for", "bar", "boo", "boo"), 10,
	                       BLAB "+ignored", L("foo", "boo")),
	         .expected = make("ReplaceLabelsAnnotationsFieldPath", L("for", "bar", "boo", "boo"), 10,
	                          BLAB, L("foo", "boo"))},
	        {.name = "ReplaceLabel",
	         .path = {"labels.foo"},
	         .input = make("ReplaceLabel", L("foo", "baz", "baz", "bunk"), 10, BLAB "+ignored",
	                       L("foo", "bar")),
	         .expected = make("ReplaceLabel", L("foo", "baz", "baz", "boo"), 10, BLAB,
	                          L("foo", "bar", "baz", "boo"))},
	        {.name = "ReplaceAnnotation",
	         .path = {"annotations.foo"},
	         .input = make("ReplaceAnnotation", L("foo", "baz", "baz", "bunk"), 10, BLAB "+ignored",
	                       L("foo", "baz", "baz", "bunk")),
	         .expected = make("ReplaceAnnotation", BASE_LABELS, 10, BLAB, L("foo", "baz", "baz", "boo"))},
	        {.name = "ReplaceTargetTypeAndAnnotations",
	         .path = {"target"},
	         .input =
	                 make("ReplaceTargetTypeAndAnnotations", NULL, 10, BLAB "+replaced", L("fox", "dog")),
	         .expected = make("ReplaceTargetTypeAndAnnotations", BASE_LABELS, 10, BLAB "+replaced",
	                          L("fox", "dog"))},
	        {.name = "ReplaceTargetFieldpath",
	         .path = {"target"},
	         .input = make("ReplaceTargetFieldpath", NULL, 20, BLAB "+replaced", L("fox", "dog")),
	         .expected =
	                 make("ReplaceTargetFieldpath", BASE_LABELS, 20, BLAB "+replaced", L("fox", "dog"))},
	        {.name = "ReplaceTarget",
	         .input = make("ReplaceTarget", NULL, 20, BLAB "+replaced", L("fox", "dog")),
	         .expected = make("ReplaceTarget", NULL, 20, BLAB "+replaced", L("fox", "dog"))},
	        {.name = "RemoveLabel",
	         .path = {"labels.foo"},
	         .input = make("RemoveLabel", L("foo", ""), 10, BLAB, NULL),
	         .expected = make("RemoveLabel", L("baz", "boo"), 10, BLAB, L("foo", "bar", "baz", "boo"))},
	        {.name = "EmptySize",
	         .input = make("EmptySize", BASE_LABELS, 0, BLAB, L("foo", "bar")),
	         .error = "target.Size must be greater than zero: invalid argument"},
	        {.name = "EmptyMediaType",
	         .input = make("EmptyMediaType", BASE_LABELS, 10, NULL, NULL),
	         .error = "target.MediaType must be set: invalid argument"},
	        {.name = "TryUpdateNameFail",
	         .input = make("test should fail", BASE_LABELS, 10, BLAB, NULL),
	         .error = "image \"test should fail\": not found"},
	        {.name = "BadField",
	         .path = {"name"},
	         .input = make("BadField", NULL, 10, BLAB, NULL),
	         .error = "cannot update \"name\" field on image \"BadField\": invalid argument"},
	        {.name = "NoName",
	         .input = make("", NULL, 10, BLAB, NULL),
	         .error = "image name is required for update: invalid argument"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("%s", cases[i].name);
		run_case(env, &cases[i]);
	}
}

static void create_fails(TestEnv *env, Image *image, const char *text)
{
	g_autoptr(Image) taken = image;
	g_autoptr(GError) error = NULL;
	g_assert_null(images_create(env->db, &env->ctx, taken, 0, &error));
	g_assert_cmpstr(error->message, ==, text);
}

static void test_create_fails(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	create_fails(env, make("", NULL, 10, BLAB, NULL), "image name must not be empty: invalid argument");
	create_fails(env, make("a", NULL, 0, BLAB, NULL),
	             "target.Size must be greater than zero: invalid argument");
	create_fails(env, make("a", NULL, -1, BLAB, NULL),
	             "target.Size must be greater than zero: invalid argument");
	create_fails(env, make("a", NULL, 10, "", NULL), "target.MediaType must be set: invalid argument");
	Image *no_target = make("a", NULL, 10, BLAB, NULL);
	descriptor_clear(&no_target->target);
	create_fails(env, no_target,
	             "target.Digest \"\" invalid: invalid checksum digest format: invalid argument");
	g_autofree char *big = g_strnfill(5000, 'x');
	create_fails(env, make("a", L("k", big), 10, BLAB, NULL),
	             "image.Labels: label key and value length (5001 bytes) greater than maximum size (4096 "
	             "bytes), key: k: invalid argument");
	g_autoptr(GError) error = NULL;
	g_autoptr(Image) image = base("twice");
	g_autoptr(Image) created = images_create(env->db, &env->ctx, image, 0, &error);
	g_assert_nonnull(created);
	g_assert_null(images_create(env->db, &env->ctx, image, 0, &error));
	assert_error(error, CTRD_ERR_ALREADY_EXISTS, "image \"twice\": already exists");
	g_assert_null(images_create(env->db, &(Ctx){0}, image, 0, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, "namespace is required: failed precondition");
	g_assert_null(images_get(env->db, &(Ctx){.ns = "other"}, "twice", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "image \"twice\": not found");
}

static void assert_list(TestEnv *env, const char *const *filters, const char *expected)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) list = images_list(env->db, &env->ctx, filters, &error);
	g_assert_no_error(error);
	g_autoptr(GString) names = g_string_new(NULL);
	for (guint i = 0; i < list->len; i++)
		g_string_append_printf(names, "%s%s", i > 0 ? " " : "", ((Image *)list->pdata[i])->name);
	g_assert_cmpstr(names->str, ==, expected);
}

static void test_list(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	for (int i = 0; i < 4; i++) {
		g_autofree char *name = g_strdup_printf("image-%d", i);
		g_autoptr(Image) image = make(name,
		                              L("namelabel", name, "even", i % 2 == 0 ? "true" : "false",
		                                "odd", i % 2 != 0 ? "true" : "false"),
		                              10, "application/vnd.containerd.test", L("foo", "bar"));
		g_autoptr(Image) created = images_create(env->db, &env->ctx, image, 0, &error);
		g_assert_nonnull(created);
		g_assert_no_error(error);
	}
	g_autofree char *digest = digest_of("image-2", 10);
	g_autofree char *by_digest = g_strdup_printf("target.digest==\"%s\"", digest);
	assert_list(env, NULL, "image-0 image-1 image-2 image-3");
	assert_list(env, (const char *[]){"labels.even==true", "labels.odd==true", NULL},
	            "image-0 image-1 image-2 image-3");
	assert_list(env, (const char *[]){"labels.even==true", NULL}, "image-0 image-2");
	assert_list(env, (const char *[]){"labels.odd==true", NULL}, "image-1 image-3");
	assert_list(env, (const char *[]){"name==image-0", NULL}, "image-0");
	assert_list(env, (const char *[]){"labels.namelabel==image-0,labels.even==true", NULL}, "image-0");
	assert_list(env, (const char *[]){"target.mediatype~=application/vnd.*", NULL},
	            "image-0 image-1 image-2 image-3");
	assert_list(env, (const char *[]){by_digest, NULL}, "image-2");
	assert_list(env, (const char *[]){"annotations.foo==bar,name==image-3", NULL}, "image-3");
	assert_list(env, (const char *[]){"nothing", NULL}, "");
	g_assert_null(images_list(env->db, &env->ctx, (const char *[]){"name>2", NULL}, &error));
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	g_assert_true(
	        g_str_has_suffix(error->message, ": invalid argument: invalid argument")); // as upstream
	g_clear_error(&error);
	for (int i = 0; i < 4; i++) {
		g_autofree char *name = g_strdup_printf("image-%d", i);
		g_assert_true(images_delete(env->db, &env->ctx, name, NULL, &error));
		g_assert_false(images_delete(env->db, &env->ctx, name, NULL, &error));
		g_autofree char *text = g_strdup_printf("image \"%s\": not found", name);
		assert_error(error, CTRD_ERR_NOT_FOUND, text);
	}
	g_assert_cmpuint(env->events->len, ==, 8);
	g_assert_cmpstr(env->events->pdata[0], ==, "5 testing image-0");
	g_assert_cmpstr(env->events->pdata[7], ==, "7 testing image-3");
}

static void test_epoch(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(Image) image = base("epoch");
	g_autoptr(Image) created = images_create(env->db, &env->ctx, image, 1234 * NS_PER_SEC, &error);
	g_assert_cmpint(created->created_at, ==, 1234 * NS_PER_SEC);
	g_autoptr(Image) updated = images_update(env->db, &env->ctx, image, NULL, 1300 * NS_PER_SEC, &error);
	g_assert_cmpint(updated->created_at, ==, 1234 * NS_PER_SEC);
	g_assert_cmpint(updated->updated_at, ==, 1300 * NS_PER_SEC);
}

static guint n_resources(TestEnv *env, const char *lease)
{
	g_autoptr(GPtrArray) list = leases_list_resources(env->db, &env->ctx, lease, NULL);
	return list->len;
}

/* Only an image that may expire is put under the lease. */
static void test_lease(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(Lease) lease = leases_create(env->db, &env->ctx, "l", NULL, &error);
	g_assert_nonnull(lease);
	Ctx leased = {.ns = "testing", .lease = "l"}, unknown = {.ns = "testing", .lease = "none"};
	g_autoptr(Image) plain = base("plain");
	g_autoptr(Image) created = images_create(env->db, &leased, plain, 0, &error);
	g_assert_nonnull(created);
	g_assert_cmpuint(n_resources(env, "l"), ==, 0);
	g_autoptr(Image) expires =
	        make("expires", L("containerd.io/gc.expire", "2030-01-01T00:00:00Z"), 10, BLAB, NULL);
	g_assert_null(images_create(env->db, &unknown, expires, 0, &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "lease does not exist: not found");
	g_autoptr(Image) created2 = images_create(env->db, &leased, expires, 0, &error);
	g_assert_nonnull(created2);
	g_assert_cmpuint(n_resources(env, "l"), ==, 1);
	g_assert_true(images_delete(env->db, &leased, "expires", NULL, &error));
	g_assert_cmpuint(n_resources(env, "l"), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/images/update", test_update);
	g_test_add_func("/images/create-fails", test_create_fails);
	g_test_add_func("/images/list", test_list);
	g_test_add_func("/images/epoch", test_epoch);
	g_test_add_func("/images/lease", test_lease);
	return g_test_run();
}
