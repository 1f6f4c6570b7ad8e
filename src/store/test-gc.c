// SPDX-License-Identifier: Apache-2.0

/* The graph: the cases of upstream's core/metadata/gc_test.go. The schedule: those of
 * plugins/gc/scheduler_test.go. */

#include "store/gc-private.h"
#include "store/test-env.h"
#include <string.h>

/* ---- making rows ---- */

static bool exec_tx(MetaTx *tx, void *data, GError **error)
{
	char *text = NULL;
	if (sqlite3_exec(meta_tx_sqlite(tx), data, NULL, NULL, &text) == SQLITE_OK)
		return true;
	return error_set(error, CTRD_ERR_UNKNOWN, "%s", text);
}

static void sql(TestEnv *env, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = sqlite3_vmprintf(format, args);
	va_end(args);
	g_autoptr(GError) error = NULL;
	meta_update(env->db, exec_tx, text, &error);
	g_assert_no_error(error);
	sqlite3_free(text);
}

/* key, value, ..., NULL of the row that was made last in table. */
static void add_labels(TestEnv *env, int kind, const char *table, va_list args)
{
	const char *key;
	while ((key = va_arg(args, const char *)) != NULL)
		sql(env, "INSERT INTO label SELECT %d, max(id), %Q, %Q FROM %s", kind, key,
		    va_arg(args, const char *), table);
}

#define WITH_LABELS(kind, table)                                                                             \
	va_list args;                                                                                        \
	va_start(args, last);                                                                                \
	if (last != NULL)                                                                                    \
		sql(env, "INSERT INTO label SELECT %d, max(id), %Q, %Q FROM %s", kind, last,                 \
		    va_arg(args, const char *), table);                                                      \
	if (last != NULL)                                                                                    \
		add_labels(env, kind, table, args);                                                          \
	va_end(args)

static void add_image(TestEnv *env, const char *ns, const char *name, const char *digest, const char *last,
                      ...)
{
	sql(env,
	    "INSERT INTO image(ns, name, digest, media_type, size, created, updated)"
	    " VALUES (%Q, %Q, %Q, 'm', 1, 1, 1)",
	    ns, name, digest);
	WITH_LABELS(2, "image");
}

static void add_container(TestEnv *env, const char *ns, const char *name, const char *snapshotter,
                          const char *snapshot, const char *last, ...)
{
	sql(env,
	    "INSERT INTO container(ns, name, image, runtime, snapshotter, snapshot_key, sandbox, created,"
	    " updated) VALUES (%Q, %Q, '', 'r', %Q, %Q, '', 1, 1)",
	    ns, name, snapshotter, snapshot);
	WITH_LABELS(3, "container");
}

static void add_sandbox(TestEnv *env, const char *ns, const char *name, const char *last, ...)
{
	sql(env,
	    "INSERT INTO sandbox(ns, name, runtime, sandboxer, created, updated)"
	    " VALUES (%Q, %Q, 'r', '', 1, 1)",
	    ns, name);
	WITH_LABELS(4, "sandbox");
}

static void add_content(TestEnv *env, const char *ns, const char *digest, const char *last, ...)
{
	sql(env, "INSERT INTO blob(ns, digest, size, created, updated) VALUES (%Q, %Q, 1, 1, 1)", ns, digest);
	WITH_LABELS(6, "blob");
}

static void add_snapshot(TestEnv *env, const char *ns, const char *snapshotter, const char *key,
                         const char *parent, const char *last, ...)
{
	sql(env,
	    "INSERT INTO snapshot(snapshotter, ns, key, parent, kind, created, updated) VALUES (%Q, %Q, %Q,"
	    " (SELECT id FROM snapshot WHERE snapshotter = %Q AND ns = %Q AND key = %Q), 3, 1, 1)",
	    snapshotter, ns, key, snapshotter, ns, parent);
	WITH_LABELS(7, "snapshot");
}

static void add_lease(TestEnv *env, const char *ns, const char *name, const char *last, ...)
{
	sql(env, "INSERT INTO lease(ns, name, created) VALUES (%Q, %Q, 1)", ns, name);
	WITH_LABELS(5, "lease");
}

static void add_resource(TestEnv *env, const char *ns, const char *lease, const char *type, const char *key)
{
	sql(env, "INSERT INTO lease(ns, name, created) VALUES (%Q, %Q, 1) ON CONFLICT DO NOTHING", ns, lease);
	sql(env, "INSERT INTO lease_resource SELECT id, %Q, %Q FROM lease WHERE ns = %Q AND name = %Q", type,
	    key, ns, lease);
}

/* expires: seconds from now; 0: not set. */
static void add_ingest(TestEnv *env, const char *ns, const char *ref, const char *expected, int expires)
{
	sql(env, "INSERT INTO ingest(ns, ref, backend_ref, expected) VALUES (%Q, %Q, %Q, %Q)", ns, ref, ref,
	    expected);
	if (expires != 0)
		sql(env, "UPDATE ingest SET expires = %lld WHERE ns = %Q AND ref = %Q",
		    (long long)(time_now() + expires * NS_PER_SEC), ns, ref);
}

/* RFC 3339, seconds from now; lives until the end of the program. */
static const char *in(int seconds)
{
	g_autofree char *text = time_format_rfc3339(time_now() + seconds * NS_PER_SEC);
	return g_intern_string(text);
}

/* ---- looking at the graph ---- */

typedef struct {
	GArray *runs;
	GcGraph *graph;
} Load;

static bool load_tx(MetaTx *tx, void *data, GError **error)
{
	Load *l = data;
	l->graph = gc_graph_load(tx, l->runs, time_now(), error);
	return l->graph != NULL;
}

static GcGraph *load(TestEnv *env, GArray *runs)
{
	Load l = {.runs = runs};
	g_autoptr(GError) error = NULL;
	g_assert_true(meta_view(env->db, load_tx, &l, &error));
	return l.graph;
}

static char *node_text(const GcNode *n, bool flat)
{
	static const char *const names[] = {"?",     "content", "snapshot", "container", "task",
	                                    "image", "lease",   "ingest",   "sandbox"};
	return g_strdup_printf("%s%s(%s/%s)",
	                       (unsigned)n->kind < G_N_ELEMENTS(names) ? names[n->kind] : "collected",
	                       flat ? "-flat" : "", n->ns, n->key);
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* texts is taken; expected is blank-separated, in any order. */
static void assert_set(GPtrArray *texts, const char *expected)
{
	g_auto(GStrv) words = g_strsplit(expected, " ", -1);
	g_autoptr(GPtrArray) e = g_ptr_array_new();
	for (char **w = words; *w != NULL; w++) {
		if (**w != '\0')
			g_ptr_array_add(e, *w);
	}
	g_ptr_array_sort(texts, compare_text);
	g_ptr_array_sort(e, compare_text);
	g_ptr_array_add(texts, NULL);
	g_ptr_array_add(e, NULL);
	g_autofree char *a = g_strjoinv(" ", (char **)texts->pdata), *b = g_strjoinv(" ", (char **)e->pdata);
	g_assert_cmpstr(a, ==, b);
	g_ptr_array_unref(texts);
}

static GPtrArray *texts_new(void)
{
	return g_ptr_array_new_with_free_func(g_free);
}

static void assert_roots(GcGraph *g, const char *expected)
{
	GPtrArray *texts = texts_new();
	GPtrArray *all = gc_graph_nodes(g);
	for (guint i = 0; i < all->len; i++) {
		const GcNode *n = all->pdata[i];
		if ((n->root & GC_FULL) != 0)
			g_ptr_array_add(texts, node_text(n, false));
		else if ((n->root & GC_FLAT) != 0)
			g_ptr_array_add(texts, node_text(n, true));
	}
	assert_set(texts, expected);
}

static void assert_refs(GcGraph *g, GcKind kind, const char *ns, const char *key, bool flat,
                        const char *expected)
{
	GcNode *n = gc_graph_find(g, kind, ns, key);
	g_assert_nonnull(n);
	GPtrArray *texts = texts_new();
	for (guint i = 0; n->edges != NULL && i < n->edges->len; i++) {
		const GcEdge *e = &g_array_index(n->edges, GcEdge, i);
		if (!flat || e->structural)
			g_ptr_array_add(texts, node_text(e->to, flat));
	}
	assert_set(texts, expected);
}

static void assert_garbage(GcGraph *g, const char *expected)
{
	GPtrArray *texts = texts_new();
	GPtrArray *all = gc_graph_nodes(g);
	gc_graph_mark(g);
	for (guint i = 0; i < all->len; i++) {
		if (gc_node_is_garbage(all->pdata[i]))
			g_ptr_array_add(texts, node_text(all->pdata[i], false));
	}
	assert_set(texts, expected);
}

#define GC "containerd.io/gc."
#define REF_SNAP GC "ref.snapshot."
#define REF_CONTENT GC "ref.content"
#define REF_IMAGE GC "ref.image"
#define BREF GC "bref."
#define COND GC "cond.snapshot"
#define USED GC "cond.value-usedat"

/* ---- TestGCRoots ---- */

static void test_roots(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	add_image(env, "ns1", "image1", "d1", NULL);
	add_image(env, "ns1", "image2", "d2", REF_SNAP "overlay", "sn2", NULL);
	add_image(env, "ns2", "image3", "d10", REF_CONTENT, "d11", REF_IMAGE, "image4", NULL);
	add_image(env, "ns2", "image4", "d12", GC "expire", in(-1), NULL);
	add_image(env, "ns2", "image5", "d13", GC "expire", in(-1), NULL);
	add_container(env, "ns1", "container1", "overlay", "sn4", NULL);
	add_container(env, "ns1", "container2", "overlay", "sn5", REF_SNAP "overlay", "sn6", NULL);
	add_container(env, "ns1", "container3", "overlay", "sn7", REF_SNAP "overlay/anything-1", "sn8",
	              REF_SNAP "overlay/anything-2", "sn9", REF_CONTENT, "d7", NULL);
	add_container(env, "ns1", "container4", "", "", REF_CONTENT ".0", "d8", REF_CONTENT ".1", "d9", NULL);
	add_content(env, "ns1", "d1", NULL);
	add_content(env, "ns1", "d2", NULL);
	add_content(env, "ns1", "d3", NULL);
	add_content(env, "ns2", "d1", NULL);
	add_content(env, "ns2", "d2", GC "root", "always", NULL);
	add_content(env, "ns2", "d8", NULL);
	add_content(env, "ns2", "d9", NULL);
	add_ingest(env, "ns1", "ingest-1", NULL, 0); // as expired
	add_ingest(env, "ns1", "ingest-2", NULL, -1);
	add_ingest(env, "ns1", "ingest-3", NULL, 3600);
	add_ingest(env, "ns2", "ingest-4", NULL, 0);
	add_ingest(env, "ns2", "ingest-5", "d8", 0);
	add_ingest(env, "ns2", "ingest-6", NULL, 0);
	add_ingest(env, "ns2", "ingest-7", "d9", 0);
	add_snapshot(env, "ns1", "overlay", "sn1", "", NULL);
	add_snapshot(env, "ns1", "overlay", "sn2", "", NULL);
	add_snapshot(env, "ns1", "overlay", "sn3", "", GC "root", "always", NULL);
	add_resource(env, "ns2", "l1", "snapshots/overlay", "sn5");
	add_resource(env, "ns2", "l2", "snapshots/overlay", "sn6");
	add_resource(env, "ns2", "l1", "content", "d4");
	add_resource(env, "ns2", "l2", "content", "d5");
	add_lease(env, "ns2", "l3", GC "expire", in(3600), NULL);
	add_resource(env, "ns2", "l3", "content", "d6");
	add_resource(env, "ns2", "l3", "snapshots/overlay", "sn7");
	add_resource(env, "ns2", "l3", "images", "image5");
	add_resource(env, "ns2", "l3", "ingests", "ingest-4");
	add_resource(env, "ns2", "l3", "ingests", "ingest-5");
	add_lease(env, "ns2", "l4", GC "expire", in(-1), NULL);
	add_resource(env, "ns2", "l4", "content", "d7");
	add_resource(env, "ns2", "l4", "snapshots/overlay", "sn8");
	add_resource(env, "ns2", "l4", "images", "image4");
	add_resource(env, "ns2", "l4", "ingests", "ingest-6");
	add_resource(env, "ns2", "l4", "ingests", "ingest-7");
	add_lease(env, "ns2", "l5", GC "expire", "not a time", NULL); // does not count
	add_lease(env, "ns3", "l1", GC "flat", in(3600), NULL);
	add_resource(env, "ns3", "l1", "content", "d1");
	add_resource(env, "ns3", "l1", "snapshots/overlay", "sn1");
	add_resource(env, "ns3", "l1", "images", "image1");
	add_resource(env, "ns3", "l1", "ingests", "ingest-1");
	add_sandbox(env, "ns3", "sandbox1", NULL);
	add_sandbox(env, "ns4", "sandbox1", REF_SNAP "overlay", "sn1", NULL);

	g_autoptr(GcGraph) g = load(env, NULL);
	assert_roots(
	        g,
	        "content(ns2/d2) content(ns2/d4) content(ns2/d5) content(ns2/d6) snapshot(ns1/overlay/sn3) "
	        "snapshot(ns2/overlay/sn5) snapshot(ns2/overlay/sn6) snapshot(ns2/overlay/sn7) "
	        "snapshot(ns4/overlay/sn1) container(ns1/container1) container(ns1/container2) "
	        "container(ns1/container3) container(ns1/container4) image(ns1/image1) image(ns1/image2) "
	        "image(ns2/image3) image(ns2/image5) lease(ns2/l1) lease(ns2/l2) lease(ns2/l3) lease(ns2/l5) "
	        "ingest(ns1/ingest-3) ingest(ns2/ingest-4) ingest(ns2/ingest-5) lease(ns3/l1) "
	        "ingest(ns3/ingest-1) content-flat(ns3/d1) snapshot-flat(ns3/overlay/sn1) "
	        "image-flat(ns3/image1)");
}

/* ---- TestGCRefs ---- */

static void fill_refs(TestEnv *env)
{
	add_content(env, "ns1", "d1", NULL);
	add_content(env, "ns1", "d2", NULL);
	add_content(env, "ns1", "d3", NULL);
	add_content(env, "ns1", "d4", REF_CONTENT, "d1", NULL);
	add_content(env, "ns1", "d5", REF_CONTENT ".anything-1", "d2", REF_CONTENT ".anything-2", "d3", NULL);
	add_content(env, "ns1", "d6", REF_CONTENT "bad", "d1", NULL);
	add_content(env, "ns1", "d7", REF_CONTENT "/anything-1", "d2", REF_CONTENT "/anything-2", "d3",
	            BREF "container", "container3", NULL);
	add_content(env, "ns2", "d1", NULL);
	add_content(env, "ns2", "d2", NULL);
	add_container(env, "ns1", "container1", "overlay", "sn4", NULL);
	add_container(env, "ns1", "container2", "overlay", "sn5", REF_SNAP "overlay", "sn6", NULL);
	add_container(env, "ns1", "container3", "overlay", "sn7", REF_SNAP "overlay/anything-1", "sn8",
	              REF_SNAP "overlay/anything-2", "sn9", REF_CONTENT, "d7", NULL);
	add_container(env, "ns1", "container4", "", "", REF_CONTENT ".0", "d8", REF_CONTENT ".1", "d9", NULL);
	add_image(env, "ns1", "image1", "d3", NULL);
	add_image(env, "ns1", "image2", "d4", REF_IMAGE ".anything", "image1", REF_CONTENT ".anotherimage",
	          "d5", NULL);
	add_ingest(env, "ns1", "ingest-1", NULL, 0);
	add_ingest(env, "ns2", "ingest-2", "d8", 0);
	add_snapshot(env, "ns1", "overlay", "sn1", "", NULL);
	add_snapshot(env, "ns1", "overlay", "sn2", "sn1", NULL);
	add_snapshot(env, "ns1", "overlay", "sn3", "sn2", NULL);
	add_snapshot(env, "ns1", "overlay", "sn4", "", REF_SNAP "btrfs", "sn1", REF_SNAP "overlay", "sn1",
	             NULL);
	add_snapshot(env, "ns1", "overlay", "sn5", "", REF_SNAP "overlay/anything-1", "sn1",
	             REF_SNAP "overlay/anything-2", "sn2", NULL);
	add_snapshot(env, "ns1", "btrfs", "sn1", "", NULL);
	add_snapshot(env, "ns2", "overlay", "sn1", "", NULL);
	add_snapshot(env, "ns2", "overlay", "sn2", "sn1", NULL);
	add_snapshot(env, "ns2", "overlay", "sn3", "", REF_CONTENT, "d1", REF_CONTENT ".keep-me", "d6", NULL);
	// flat leases do not follow labels
	add_content(env, "ns3", "d1", NULL);
	add_content(env, "ns3", "d2", REF_CONTENT ".0", "d1", NULL);
	// back references
	add_content(env, "ns1", "d10", BREF "container", "container1", BREF "content", "d5", BREF "image",
	            "image2", BREF "snapshot.btrfs", "sn1", NULL);
	add_content(env, "ns3", "d10", BREF "container", "container1", NULL);
	add_image(env, "ns1", "image3", "d10", BREF "image", "image2", GC "expire", in(3600), NULL);
	add_image(env, "ns1", "image4", "d10", BREF "image", "image2", GC "expire", in(-3600), NULL);
	// conditions
	add_content(env, "ns3", "d20", COND ".overlay", "usedat<2h|sn6", NULL);
	add_content(env, "ns3", "d21", COND ".overlay", "usedat<2h|sn7", NULL);
	add_content(env, "ns3", "d22", COND ".overlay/name", "usedat<1m,usedat>2h|sn7", NULL);
	add_content(env, "ns3", "d23", COND ".overlay", "usedat<=2h|sn6", NULL);
	add_content(env, "ns3", "d24", COND ".overlay", "other<2h|sn6", NULL);
	add_image(env, "ns1", "image5", "d30", COND ".overlay", "usedat<2h|sn10", NULL);
	add_snapshot(env, "ns3", "overlay", "sn4", "", NULL);
	add_snapshot(env, "ns3", "overlay", "sn5", "", NULL);
	add_snapshot(env, "ns3", "overlay", "sn6", "sn4", USED, in(-3600), NULL);
	add_snapshot(env, "ns3", "overlay", "sn7", "sn5", USED, in(-3 * 3600), NULL);
	add_snapshot(env, "ns1", "overlay", "sn10", "", USED, in(-1800), NULL);
	add_snapshot(env, "ns3", "overlay", "sn1", "", NULL);
	add_snapshot(env, "ns3", "overlay", "sn2", "sn1", NULL);
	add_snapshot(env, "ns3", "overlay", "sn3", "", REF_SNAP "btrfs", "sn1", REF_SNAP "overlay", "sn1",
	             NULL);
}

static void test_refs(void)
{
	static const struct {
		GcKind kind;
		const char *ns, *key;
		bool flat;
		const char *expected;
	} cases[] = {
	        {GC_CONTENT, "ns1", "d1", false, ""},
	        {GC_CONTENT, "ns1", "d2", false, ""},
	        {GC_CONTENT, "ns1", "d3", false, ""},
	        {GC_CONTENT, "ns1", "d4", false, "content(ns1/d1)"},
	        {GC_CONTENT, "ns1", "d5", false, "content(ns1/d10) content(ns1/d2) content(ns1/d3)"},
	        {GC_CONTENT, "ns1", "d6", false, ""},
	        {GC_CONTENT, "ns1", "d7", false, "content(ns1/d2) content(ns1/d3)"},
	        {GC_CONTENT, "ns2", "d1", false, ""},
	        {GC_CONTENT, "ns2", "d2", false, ""},
	        {GC_SNAPSHOT, "ns1", "overlay/sn1", false, ""},
	        {GC_SNAPSHOT, "ns1", "overlay/sn2", false, "snapshot(ns1/overlay/sn1)"},
	        {GC_SNAPSHOT, "ns1", "overlay/sn3", false, "snapshot(ns1/overlay/sn2)"},
	        {GC_SNAPSHOT, "ns1", "overlay/sn4", false,
	         "snapshot(ns1/btrfs/sn1) snapshot(ns1/overlay/sn1)"},
	        {GC_SNAPSHOT, "ns1", "overlay/sn5", false,
	         "snapshot(ns1/overlay/sn1) snapshot(ns1/overlay/sn2)"},
	        {GC_SNAPSHOT, "ns1", "btrfs/sn1", false, "content(ns1/d10)"},
	        {GC_SNAPSHOT, "ns2", "overlay/sn1", false, ""},
	        {GC_SNAPSHOT, "ns2", "overlay/sn2", false, "snapshot(ns2/overlay/sn1)"},
	        {GC_SNAPSHOT, "ns2", "overlay/sn3", false, "content(ns2/d1) content(ns2/d6)"},
	        {GC_CONTAINER, "ns1", "container1", false, "content(ns1/d10) snapshot(ns1/overlay/sn4)"},
	        {GC_CONTAINER, "ns1", "container2", false,
	         "snapshot(ns1/overlay/sn5) snapshot(ns1/overlay/sn6)"},
	        {GC_CONTAINER, "ns1", "container3", false,
	         "content(ns1/d7) content(ns1/d7) snapshot(ns1/overlay/sn7) snapshot(ns1/overlay/sn8) "
	         "snapshot(ns1/overlay/sn9)"},
	        {GC_CONTAINER, "ns1", "container4", false, "content(ns1/d8) content(ns1/d9)"},
	        {GC_IMAGE, "ns1", "image1", false, "content(ns1/d3)"},
	        {GC_IMAGE, "ns1", "image2", false,
	         "content(ns1/d10) content(ns1/d4) content(ns1/d5) image(ns1/image1) image(ns1/image4)"},
	        {GC_IMAGE, "ns1", "image5", false, "content(ns1/d30) snapshot(ns1/overlay/sn10)"},
	        {GC_INGEST, "ns1", "ingest-1", false, ""},
	        {GC_INGEST, "ns2", "ingest-2", false, "content(ns2/d8)"},
	        {GC_CONTAINER, "ns3", "container1", false, "content(ns3/d10)"},
	        {GC_CONTENT, "ns3", "d20", false, "snapshot(ns3/overlay/sn6)"},
	        {GC_CONTENT, "ns3", "d21", false, ""},
	        {GC_CONTENT, "ns3", "d22", false, "snapshot(ns3/overlay/sn7)"},
	        {GC_CONTENT, "ns3", "d23", false, ""},
	        {GC_CONTENT, "ns3", "d24", false, ""},
	        {GC_SNAPSHOT, "ns3", "overlay/sn2", true, "snapshot-flat(ns3/overlay/sn1)"},
	        {GC_SNAPSHOT, "ns3", "overlay/sn2", false, "snapshot(ns3/overlay/sn1)"},
	        {GC_SNAPSHOT, "ns3", "overlay/sn1", true, ""},
	        {GC_SNAPSHOT, "ns3", "overlay/sn3", true, ""},
	        {GC_SNAPSHOT, "ns3", "overlay/sn3", false,
	         "snapshot(ns3/btrfs/sn1) snapshot(ns3/overlay/sn1)"},
	        {GC_IMAGE, "ns1", "image1", true, "content-flat(ns1/d3)"},
	        {GC_IMAGE, "ns1", "image2", true, "content-flat(ns1/d4)"},
	        {GC_CONTENT, "ns3", "d2", true, ""},
	};
	g_autoptr(TestEnv) env = test_env_new(NULL);
	fill_refs(env);
	g_autoptr(GcGraph) g = load(env, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("%s %s", cases[i].ns, cases[i].key);
		assert_refs(g, cases[i].kind, cases[i].ns, cases[i].key, cases[i].flat, cases[i].expected);
	}
}

/* What is marked, through all of these. */
static void test_garbage(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	fill_refs(env);
	g_autoptr(GcGraph) g = load(env, NULL);
	assert_garbage(g,
	               // no image, container or lease leads there
	               "content(ns1/d6) content(ns2/d1) content(ns2/d2) content(ns3/d1) content(ns3/d2) "
	               "content(ns3/d10) content(ns3/d20) content(ns3/d21) content(ns3/d22) content(ns3/d23) "
	               "content(ns3/d24) ingest(ns1/ingest-1) ingest(ns2/ingest-2) snapshot(ns1/overlay/sn3) "
	               "snapshot(ns2/overlay/sn1) snapshot(ns2/overlay/sn2) snapshot(ns2/overlay/sn3) "
	               "snapshot(ns3/overlay/sn1) snapshot(ns3/overlay/sn2) snapshot(ns3/overlay/sn3) "
	               "snapshot(ns3/overlay/sn4) snapshot(ns3/overlay/sn5) snapshot(ns3/overlay/sn6) "
	               "snapshot(ns3/overlay/sn7)");
}

/* A full mark after a flat one goes further. */
static void test_flat_and_full(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	add_content(env, "ns1", "d1", REF_CONTENT, "d2", NULL);
	add_content(env, "ns1", "d2", REF_CONTENT, "d3", NULL);
	add_content(env, "ns1", "d3", NULL);
	add_lease(env, "ns1", "flat", GC "flat", "1", NULL);
	add_resource(env, "ns1", "flat", "content", "d1");
	g_autoptr(GcGraph) flat = load(env, NULL);
	assert_garbage(flat, "content(ns1/d2) content(ns1/d3)");
	add_lease(env, "ns1", "full", NULL);
	add_resource(env, "ns1", "full", "content", "d1");
	g_autoptr(GcGraph) both = load(env, NULL);
	assert_garbage(both, "");
	// references in a circle end
	add_content(env, "ns2", "a", REF_CONTENT, "b", NULL);
	add_content(env, "ns2", "b", REF_CONTENT, "a", NULL);
	g_autoptr(GcGraph) circle = load(env, NULL);
	assert_garbage(circle, "content(ns2/a) content(ns2/b)");
}

/* ---- TestCollectibleResources ---- */

typedef struct {
	GPtrArray *all; // of "ns/key"
	unsigned n_finished, n_canceled;
} Collected;

static void *collected_start(void *data)
{
	return data;
}

static void collected_all(void *run, GcEmitFn emit, void *sink)
{
	Collected *c = run;
	for (guint i = 0; i < c->all->len; i++) {
		g_auto(GStrv) parts = g_strsplit(c->all->pdata[i], "/", 2);
		emit(sink, parts[0], parts[1]);
	}
}

static void collected_active(void *run, const char *ns, GcEmitFn emit, GcBackRefFn bref, void *sink)
{
	if (strcmp(ns, "ns1") != 0)
		return;
	emit(sink, ns, "test1");
	bref(sink, GC_IMAGE, ns, "image2", "test5");
	bref(sink, GC_CONTAINER, ns, "container1", "test5");
}

static void collected_leased(void *run, const char *ns, const char *lease, GcEmitFn emit, void *sink)
{
	if (strcmp(ns, "ns1") == 0)
		emit(sink, ns, strcmp(lease, "lease1") == 0 ? "test3" : "test4");
}

static void collected_remove(void *run, const char *ns, const char *key)
{
	Collected *c = run;
	g_autofree char *text = g_strdup_printf("%s/%s", ns, key);
	for (guint i = 0; i < c->all->len; i++) {
		if (strcmp(c->all->pdata[i], text) == 0) {
			g_ptr_array_remove_index(c->all, i);
			return;
		}
	}
	g_assert_not_reached();
}

static void collected_finish(void *run)
{
	((Collected *)run)->n_finished++;
}

static void collected_cancel(void *run)
{
	((Collected *)run)->n_canceled++;
}

static const GcCollector collector = {
        .label = "test",
        .start = collected_start,
        .all = collected_all,
        .active = collected_active,
        .leased = collected_leased,
        .remove = collected_remove,
        .finish = collected_finish,
        .cancel = collected_cancel,
};

static Collected collected_new(void)
{
	static const char *const names[] = {"ns1/test1", "ns1/test2", "ns1/test3",
	                                    "ns1/test4", "ns1/test5", "random/test1"};
	Collected c = {.all = g_ptr_array_new_with_free_func(g_free)};
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		g_ptr_array_add(c.all, g_strdup(names[i]));
	return c;
}

static void fill_collected(TestEnv *env)
{
	add_content(env, "ns1", "d1", NULL);
	add_image(env, "ns1", "image1", "d1", NULL);
	add_content(env, "ns1", "d2", GC "ref.test", "test2", NULL);
	add_image(env, "ns1", "image2", "d2", NULL);
	add_lease(env, "ns1", "lease1", GC "expire", in(3600), NULL);
	add_lease(env, "ns1", "lease2", GC "expire", in(-3600), NULL);
	add_container(env, "ns1", "container1", "testsn", "sn1", NULL);
}

static void test_collectors(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	fill_collected(env);
	Collected c = collected_new();
	g_autoptr(GArray) runs = g_array_new(FALSE, TRUE, sizeof(GcRun));
	GcRun run = {&collector, &c, &c};
	g_array_append_val(runs, run);
	g_autoptr(GcGraph) g = load(env, runs);
	assert_roots(g, "container(ns1/container1) image(ns1/image1) image(ns1/image2) lease(ns1/lease1) "
	                "collected(ns1/test1) collected(ns1/test3)");
	assert_refs(g, GC_CONTENT, "ns1", "d2", false, "collected(ns1/test2)");
	assert_refs(g, GC_IMAGE, "ns1", "image2", false, "content(ns1/d2) collected(ns1/test5)");
	assert_refs(g, GC_CONTAINER, "ns1", "container1", false,
	            "snapshot(ns1/testsn/sn1) collected(ns1/test5)");
	assert_garbage(g, "lease(ns1/lease2) collected(ns1/test4) collected(random/test1)");
	g_ptr_array_unref(c.all);
}

static void test_collect_collectors(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	fill_collected(env);
	Collected c = collected_new();
	Gc *gc = gc_new(env->db, NULL, NULL, &(GcOptions){0});
	gc_add_collector(gc, &collector, &c);
	g_assert_true(gc_run(gc, &(Ctx){0}, &error));
	GcStats stats;
	gc_last(gc, &stats);
	g_assert_cmpuint(stats.n_leases, ==, 1);
	g_assert_cmpuint(c.all->len, ==, 4);
	g_assert_cmpuint(c.n_finished, ==, 1);
	g_assert_cmpuint(c.n_canceled, ==, 0);
	gc_free(gc);
	g_ptr_array_unref(c.all);
}

/* ---- TestGCRemove: rows, their labels, events ---- */

static bool count_tx(MetaTx *tx, void *data, GError **error)
{
	bool found;
	int64_t n = -1;
	if (!meta_query_int(tx, &found, &n, error, *(const char **)data, ""))
		return false;
	*(int64_t *)((void **)data)[1] = n;
	return true;
}

static int64_t count(TestEnv *env, const char *query)
{
	int64_t n = -1;
	g_autoptr(GError) error = NULL;
	meta_view(env->db, count_tx, (void *[]){(void *)query, &n}, &error);
	g_assert_no_error(error);
	return n;
}

static void test_remove(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	add_image(env, "ns1", "kept", "d1", NULL);
	add_image(env, "ns1", "expired", "d2", GC "expire", in(-1), NULL);
	add_content(env, "ns1", "d1", NULL);
	add_content(env, "ns1", "d2", "some", "label", NULL);
	add_content(env, "ns2", "d1", NULL);
	add_ingest(env, "ns1", "old", NULL, -1);
	add_ingest(env, "ns1", "new", NULL, 3600);
	// children before parents and after: all go in one statement
	add_snapshot(env, "ns1", "overlay", "sn1", "", NULL);
	add_snapshot(env, "ns1", "overlay", "sn2", "sn1", NULL);
	add_snapshot(env, "ns1", "overlay", "sn3", "sn2", NULL);
	sql(env,
	    "INSERT INTO snapshot(snapshotter, ns, key, kind, created, updated)"
	    " VALUES ('overlay', 'ns1', 'late', 3, 1, 1);"
	    "UPDATE snapshot SET parent = (SELECT id FROM snapshot WHERE key = 'late') WHERE key = 'sn1'");
	add_lease(env, "ns1", "l1", GC "expire", in(3600), NULL);
	add_lease(env, "ns1", "l2", GC "expire", in(-1), NULL);
	add_resource(env, "ns1", "l2", "content", "d2");
	Gc *gc = gc_new(env->db, NULL, NULL, &(GcOptions){0});
	g_assert_true(gc_run(gc, &(Ctx){0}, &error));
	g_assert_no_error(error);
	g_assert_cmpint(count(env, "SELECT count(*) FROM image"), ==, 1);
	g_assert_cmpint(count(env, "SELECT count(*) FROM blob"), ==, 1);
	g_assert_cmpint(count(env, "SELECT count(*) FROM ingest"), ==, 1);
	g_assert_cmpint(count(env, "SELECT count(*) FROM snapshot"), ==, 0);
	g_assert_cmpint(count(env, "SELECT count(*) FROM lease"), ==, 1);
	g_assert_cmpint(count(env, "SELECT count(*) FROM lease_resource"), ==, 0);
	g_assert_cmpint(count(env, "SELECT count(*) FROM label"), ==, 1); // the lease's that stays
	GcStats stats;
	gc_last(gc, &stats);
	g_assert_cmpuint(stats.n_content, ==, 2);
	g_assert_cmpuint(stats.n_snapshots, ==, 4);
	g_assert_cmpuint(stats.n_images, ==, 1);
	g_assert_cmpuint(stats.n_leases, ==, 1);
	g_assert_cmpuint(stats.n_ingests, ==, 1);
	g_ptr_array_sort(env->events, compare_text);
	g_assert_cmpuint(env->events->len, ==, 5);
	g_assert_cmpstr(env->events->pdata[0], ==, "13 ns1 late");
	g_assert_cmpstr(env->events->pdata[1], ==, "13 ns1 sn1");
	g_assert_cmpstr(env->events->pdata[4], ==, "7 ns1 expired");
	gc_free(gc);
}

/* ---- the schedule ---- */

#define MS NS_PER_MS

/* One collection when it is due; returns how many ran in so many steps of 100 us with a deletion each. */
static void test_pause_threshold(void)
{
	GcSchedule s;
	int64_t now = 1000 * NS_PER_SEC, end = now + 15 * MS;
	gc_schedule_init(&s, &(GcOptions){.pause_threshold = 0.02}, now);
	// with 100 us it may run every 5 ms; the minimum of 5 ms makes that 245 ms
	unsigned runs = 0;
	for (; now < end; now += MS / 10) {
		gc_schedule_mutation(&s, true, now);
		int64_t due = gc_schedule_due(&s);
		if (due != 0 && due <= now) {
			gc_schedule_begin(&s);
			gc_schedule_done(&s, true, MS / 10, now);
			runs++;
		}
	}
	g_assert_cmpuint(runs, ==, 1);
	g_assert_cmpint(gc_schedule_due(&s) - s.last, ==, 245 * MS);
	// longer collections, longer pauses
	gc_schedule_begin(&s);
	gc_schedule_done(&s, true, 40 * MS, now);
	gc_schedule_mutation(&s, true, now);
	double average = (double)(40 * MS + MS / 10) / 2;
	g_assert_cmpint(gc_schedule_due(&s), ==, now + (int64_t)(average / 0.02 - average));
}

static void test_deletion_threshold(void)
{
	GcSchedule s;
	int64_t now = 1000 * NS_PER_SEC;
	gc_schedule_init(&s, &(GcOptions){.pause_threshold = 0.001, .deletion_threshold = 5}, now);
	for (int i = 0; i < 4; i++) {
		gc_schedule_mutation(&s, true, now);
		g_assert_cmpint(gc_schedule_due(&s), ==, 0);
	}
	gc_schedule_mutation(&s, true, now);
	g_assert_cmpint(gc_schedule_due(&s), ==, now);
}

static void test_triggers(void)
{
	GcSchedule s;
	int64_t now = 1000 * NS_PER_SEC;
	gc_schedule_init(&s,
	                 &(GcOptions){.schedule_delay_ns = 7 * MS,
	                              .startup_delay_ns = 20 * MS,
	                              .mutation_threshold = 3},
	                 now);
	g_assert_cmpint(gc_schedule_due(&s), ==, now + 20 * MS); // the first one
	gc_schedule_trigger(&s, now);
	g_assert_cmpint(gc_schedule_due(&s), ==, now + 7 * MS);
	gc_schedule_trigger(&s, now + 3 * MS); // does not put it off
	g_assert_cmpint(gc_schedule_due(&s), ==, now + 7 * MS);
	gc_schedule_begin(&s);
	gc_schedule_trigger(&s, now + 9 * MS); // while it runs: one more
	gc_schedule_done(&s, true, MS, now + 10 * MS);
	g_assert_cmpint(gc_schedule_due(&s), ==, now + 16 * MS);
	gc_schedule_begin(&s);
	gc_schedule_done(&s, true, MS, now + 20 * MS);
	g_assert_cmpint(gc_schedule_due(&s), ==, 0); // nothing happened: nothing to do
	gc_schedule_mutation(&s, false, now + 30 * MS);
	gc_schedule_mutation(&s, false, now + 30 * MS);
	g_assert_cmpint(gc_schedule_due(&s), ==, 0);
	gc_schedule_mutation(&s, false, now + 30 * MS); // the threshold, at the next time that is allowed
	g_assert_cmpint(gc_schedule_due(&s), ==, now + 20 * MS + NS_PER_SEC);
	gc_schedule_begin(&s);
	gc_schedule_done(&s, false, MS, now + 40 * MS); // it failed: again, a second later
	g_assert_cmpint(gc_schedule_due(&s), ==, now + 40 * MS + 2 * NS_PER_SEC);
}

/* ---- the thread ---- */

static void test_startup(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	add_content(env, "ns1", "d1", NULL);
	Gc *gc = gc_new(env->db, NULL, NULL,
	                &(GcOptions){.pause_threshold = 0.5, .startup_delay_ns = 20 * MS});
	GcStats stats = {0};
	for (int i = 0; i < 500 && stats.n_collections == 0; i++) {
		g_usleep(10000);
		gc_last(gc, &stats);
	}
	g_assert_cmpuint(stats.n_collections, ==, 1);
	g_assert_cmpint(count(env, "SELECT count(*) FROM blob"), ==, 0);
	gc_free(gc);
}

static void test_run_canceled(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	Gc *gc = gc_new(env->db, NULL, NULL, &(GcOptions){.schedule_delay_ns = 60 * NS_PER_SEC});
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	cancel_set_deadline(cancel, time_mono() + 20 * MS);
	g_assert_false(gc_run(gc, &(Ctx){.cancel = cancel}, &error));
	assert_error(error, CTRD_ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
	gc_free(gc);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/gc/roots", test_roots);
	g_test_add_func("/gc/refs", test_refs);
	g_test_add_func("/gc/garbage", test_garbage);
	g_test_add_func("/gc/flat-and-full", test_flat_and_full);
	g_test_add_func("/gc/collectors", test_collectors);
	g_test_add_func("/gc/collect-collectors", test_collect_collectors);
	g_test_add_func("/gc/remove", test_remove);
	g_test_add_func("/gc/schedule/pause-threshold", test_pause_threshold);
	g_test_add_func("/gc/schedule/deletion-threshold", test_deletion_threshold);
	g_test_add_func("/gc/schedule/triggers", test_triggers);
	g_test_add_func("/gc/startup", test_startup);
	g_test_add_func("/gc/run-canceled", test_run_canceled);
	return g_test_run();
}
