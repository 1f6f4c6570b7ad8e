// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the unit tests of the stores share: a database in a directory of its own, and what was published. */

#include "base/error.h"
#include "base/fs.h"
#include "loop/ctx.h"
#include "loop/lock.h"
#include "store/meta.h"
#include <glib.h>
#include <glib/gstdio.h>

typedef struct {
	char *dir;
	MetaDb *db;
	Ctx ctx;           // namespace "testing"
	Lock lock;         // of events
	GPtrArray *events; // of char*: "kind ns name ..."
} TestEnv;

static inline void test_env_publish(const StoreEvent *e, void *data)
{
	TestEnv *env = data;
	LOCK_SCOPE(&env->lock);
	g_ptr_array_add(env->events,
	                g_strdup_printf("%d %s %s%s%s", (int)e->kind, e->ns,
	                                e->name != NULL ? e->name : e->key, e->image != NULL ? " image=" : "",
	                                e->image != NULL ? e->image : ""));
}

static inline MetaDb *test_env_open(TestEnv *env, const MetaOptions *options)
{
	MetaOptions o = options != NULL ? *options : (MetaOptions){0};
	if (o.sink.publish == NULL)
		o.sink = (StoreEventSink){test_env_publish, env};
	if (o.open_timeout_ns == 0)
		o.open_timeout_ns = 2 * NS_PER_SEC;
	g_autofree char *path = g_build_filename(env->dir, "meta.sqlite", NULL);
	g_autoptr(GError) error = NULL;
	env->db = meta_open(path, &o, &error);
	g_assert_no_error(error);
	return env->db;
}

static inline TestEnv *test_env_new(const MetaOptions *options)
{
	TestEnv *env = g_new0(TestEnv, 1);
	env->dir = g_dir_make_tmp("ctrd-store-XXXXXX", NULL);
	g_assert_nonnull(env->dir);
	lock_init(&env->lock, "test-env", LOCK_RANK_LEAF);
	env->events = g_ptr_array_new_with_free_func(g_free);
	env->ctx = (Ctx){.ns = "testing"};
	test_env_open(env, options);
	return env;
}

static inline void test_env_free(TestEnv *env)
{
	meta_close(env->db);
	g_assert_true(tree_remove(env->dir, NULL));
	g_ptr_array_unref(env->events);
	lock_destroy(&env->lock);
	g_free(env->dir);
	g_free(env);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestEnv, test_env_free)

/* The error has this class and text; it is freed. */
#define assert_error(error, class, text)                                                                     \
	do {                                                                                                 \
		g_assert_nonnull(error);                                                                     \
		g_assert_cmpstr((error)->message, ==, (text));                                               \
		g_assert_cmpint(error_class(error), ==, (class));                                            \
		g_clear_error(&(error));                                                                     \
	} while (0)

/* key, value, ..., NULL */
static inline GHashTable *test_labels(const char *key, ...)
{
	GHashTable *map = strmap_new();
	va_list args;
	va_start(args, key);
	while (key != NULL) {
		strmap_set(map, key, va_arg(args, const char *));
		key = va_arg(args, const char *);
	}
	va_end(args);
	return map;
}

static inline void assert_strmap(GHashTable *actual, GHashTable *expected)
{
	g_autoptr(GHashTable) e = expected;
	g_assert_true(strmap_equal(actual, e));
}
