// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "loop/cancel.h"
#include "transfer/early-sync.h"
#include <stdatomic.h>

static atomic_int n_syncs, fail_with;

/* The executable's definition comes before libc's. */
__attribute__((visibility("default"))) int syncfs(int fd);
int syncfs(int fd)
{
	atomic_fetch_add(&n_syncs, 1);
	errno = fail_with;
	return fail_with == 0 ? 0 : -1;
}

typedef struct {
	char *root;
	EarlySync *s;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
	n_syncs = 0;
	fail_with = 0;
	f->root = g_dir_make_tmp("early-sync-XXXXXX", NULL);
	f->s = early_sync_new();
}

static void teardown(Fixture *f, gconstpointer data)
{
	early_sync_free(f->s);
	tree_remove(f->root, NULL);
	g_free(f->root);
}

static void wait_for_syncs(int n)
{
	while (n_syncs < n)
		cancel_sleep(NULL, NS_PER_MS, NULL);
}

/* Where nothing was extracted nothing is synced. */
static void test_nothing(Fixture *f, gconstpointer data)
{
	GError *error = NULL;
	g_assert_true(early_sync_finish(f->s, &error));
	g_assert_no_error(error);
	g_assert_cmpint(n_syncs, ==, 0);
}

static void test_syncs_while_bytes_come(Fixture *f, gconstpointer data)
{
	GError *error = NULL;
	early_sync_root(f->s, f->root);
	early_sync_root(f->s, "/nonexistent"); // the first one counts
	*early_sync_counter(f->s) += EARLY_SYNC_BYTES;
	wait_for_syncs(1);
	*early_sync_counter(f->s) += EARLY_SYNC_BYTES;
	wait_for_syncs(2);
	*early_sync_counter(f->s) += EARLY_SYNC_BYTES - 1; // too little for another one
	g_assert_true(early_sync_finish(f->s, &error));
	g_assert_no_error(error);
	g_assert_cmpint(n_syncs, ==, 3);
}

/* The kernel tells it once: also when only an early sync was told. */
static void test_error_of_an_early_one(Fixture *f, gconstpointer data)
{
	GError *error = NULL;
	fail_with = EIO;
	early_sync_root(f->s, f->root);
	*early_sync_counter(f->s) += EARLY_SYNC_BYTES;
	wait_for_syncs(1);
	g_assert_false(early_sync_finish(f->s, &error));
	g_autofree char *text = g_strdup_printf("syncfs %s: input/output error", f->root);
	g_assert_cmpstr(error->message, ==, text);
	g_clear_error(&error);
	fail_with = 0;
	g_assert_false(early_sync_finish(f->s, &error)); // and it stays
	g_clear_error(&error);
}

static void test_error_of_the_last_one(Fixture *f, gconstpointer data)
{
	GError *error = NULL;
	early_sync_root(f->s, f->root);
	fail_with = ENOSPC;
	g_assert_false(early_sync_finish(f->s, &error));
	g_autofree char *text = g_strdup_printf("syncfs %s: no space left on device", f->root);
	g_assert_cmpstr(error->message, ==, text);
	g_clear_error(&error);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name, fn) g_test_add("/early-sync/" name, Fixture, NULL, setup, fn, teardown)
	TEST("nothing", test_nothing);
	TEST("while-bytes-come", test_syncs_while_bytes_come);
	TEST("error-of-an-early-one", test_error_of_an_early_one);
	TEST("error-of-the-last-one", test_error_of_the_last_one);
	return g_test_run();
}
