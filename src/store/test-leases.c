// SPDX-License-Identifier: Apache-2.0

/* The cases of upstream's core/metadata/leases_test.go. */

#include "store/leases.h"
#include "store/test-env.h"

static char *names(TestEnv *env, const char *const *filters)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) list = leases_list(env->db, &env->ctx, filters, &error);
	g_assert_no_error(error);
	g_autoptr(GString) text = g_string_new(NULL);
	for (guint i = 0; i < list->len; i++)
		g_string_append_printf(text, "%s%s", i > 0 ? " " : "", ((Lease *)list->pdata[i])->id);
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static void assert_list(TestEnv *env, const char *const *filters, const char *expected)
{
	g_autofree char *text = names(env, filters);
	g_assert_cmpstr(text, ==, expected);
}

static void create(TestEnv *env, const char *id, GHashTable *labels)
{
	g_autoptr(GHashTable) taken = labels;
	g_autoptr(GError) error = NULL;
	TimeNs before = time_now();
	g_autoptr(Lease) lease = leases_create(env->db, &env->ctx, id, taken, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(lease->id, ==, id);
	g_assert_cmpint(lease->created_at, >=, before);
}

static void test_create(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	create(env, "tx1", NULL);
	g_assert_null(leases_create(env->db, &env->ctx, "tx1", NULL, &error));
	assert_error(error, CTRD_ERR_ALREADY_EXISTS, "lease \"tx1\": already exists");
	create(env, "tx2", NULL);
	g_assert_null(leases_create(env->db, &env->ctx, "", NULL, &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "lease id must be provided");
	assert_list(env, NULL, "tx1 tx2");
	g_assert_true(leases_delete(env->db, &env->ctx, "tx1", &error));
	g_assert_false(leases_delete(env->db, &env->ctx, "tx1", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "lease \"tx1\": not found");
	g_assert_true(leases_delete(env->db, &env->ctx, "tx2", &error));
	assert_list(env, NULL, "");
}

static void test_list(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	create(env, "lease1", test_labels("label1", "value1", "label3", "other", NULL));
	create(env, "lease2", test_labels("label1", "value1", "label2", "", "label3", "other", NULL));
	create(env, "lease3", test_labels("label1", "value2", "label2", "something", NULL));
	assert_list(env, NULL, "lease1 lease2 lease3");
	assert_list(env, (const char *[]){"id==lease1", NULL}, "lease1");
	assert_list(env, (const char *[]){"id==lease1", "id==lease2", NULL}, "lease1 lease2");
	assert_list(env, (const char *[]){"labels.label1", NULL}, "lease1 lease2 lease3");
	assert_list(env, (const char *[]){"labels.label1==value1", NULL}, "lease1 lease2");
	assert_list(env, (const char *[]){"labels.label1==value2", NULL}, "lease3");
	assert_list(env, (const char *[]){"labels.label2", NULL}, "lease3"); // an empty label is none
	assert_list(env, (const char *[]){"labels.label2", "labels.label3", NULL}, "lease1 lease2 lease3");
}

typedef struct {
	const char *id, *type, *error;
	CtrdErrorCode class;
} Case;

static void test_resources(void)
{
	static const char digest[] =
	        "sha256:29f5d56d12684887bdfa50dcd29fc31eea4aaf4ad3bec43daf19026a7ce69912";
	static const Case cases[] = {
	        {digest, "content", NULL, 0},
	        {"d2UdcINOwrBTQG9kS8rySAM3eMNBSojH", "ingests", NULL, 0},
	        {"d2UdcINOwrBTQG9kS8rySAM3eMNBSojH", "ingests", NULL, 0}, // twice is fine
	        {"x", "leases", "resource type leases not supported yet: not implemented",
	         CTRD_ERR_NOT_IMPLEMENTED},
	        {"x", "containers", "resource type containers not supported yet: not implemented",
	         CTRD_ERR_NOT_IMPLEMENTED},
	        {"qBUHpWBn03YaCt9cL3PPGKWoxBqTlLfu", "images", NULL, 0},
	        {"x", "snapshots", "invalid snapshot resource type snapshots: invalid argument",
	         CTRD_ERR_INVALID_ARGUMENT},
	        {"key", "snapshots/overlayfs", NULL, 0},
	        {"x", "snapshots/overlayfs/type1",
	         "invalid snapshot resource type snapshots/overlayfs/type1: invalid argument",
	         CTRD_ERR_INVALID_ARGUMENT},
	        {"x", "content/a", "invalid resource type content/a: invalid argument",
	         CTRD_ERR_INVALID_ARGUMENT},
	        {"x", "content",
	         "invalid content resource id x: invalid checksum digest format: invalid argument",
	         CTRD_ERR_INVALID_ARGUMENT},
	};
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	create(env, "l1", NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		LeaseResource r = {(char *)cases[i].id, (char *)cases[i].type};
		bool ok = leases_add_resource(env->db, &env->ctx, "l1", &r, &error);
		g_assert_true(ok == (cases[i].error == NULL));
		if (!ok)
			assert_error(error, cases[i].class, cases[i].error);
	}
	LeaseResource r = {(char *)"key", (char *)"snapshots/overlayfs"};
	g_assert_false(leases_add_resource(env->db, &env->ctx, "none", &r, &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "lease \"none\": not found");
	g_autoptr(GPtrArray) list = leases_list_resources(env->db, &env->ctx, "l1", &error);
	static const char *const types[] = {"content", "images", "ingests", "snapshots/overlayfs"};
	g_assert_cmpuint(list->len, ==, 4);
	for (guint i = 0; i < 4; i++)
		g_assert_cmpstr(((LeaseResource *)list->pdata[i])->type, ==, types[i]);
	g_assert_true(leases_delete_resource(env->db, &env->ctx, "l1", &r, &error));
	g_assert_true(leases_delete_resource(env->db, &env->ctx, "l1", &r, &error)); // again is fine
	g_autoptr(GPtrArray) less = leases_list_resources(env->db, &env->ctx, "l1", &error);
	g_assert_cmpuint(less->len, ==, 3);
	g_assert_null(leases_list_resources(env->db, &env->ctx, "none", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "lease \"none\": not found");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/leases/create", test_create);
	g_test_add_func("/leases/list", test_list);
	g_test_add_func("/leases/resources", test_resources);
	return g_test_run();
}
