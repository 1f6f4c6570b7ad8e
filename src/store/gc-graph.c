// SPDX-License-Identifier: Apache-2.0

/*
 * The graph of the metadata: a node for each object, whatever it is called by others included; an edge for
 * each reference that keeps. It is built from a handful of scans and lives in an arena for one collection.
 *
 * Labels (upstream core/metadata/gc.go): `gc.root`; forward references `gc.ref.<kind>`; back references
 * `gc.bref.<kind>`, by which a child hangs itself on a parent; conditional ones `gc.cond.snapshot.<sn>`, by
 * which content or an image keeps a snapshot for as long as the snapshot says it is used. A flat lease keeps
 * what it names with its parents and targets, but follows no labels.
 */

#include "store/gc-graph.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "oci/labels.h"
#include <string.h>

#define GC_PREFIX "containerd.io/gc."
#define LABEL_COND_SNAPSHOT "containerd.io/gc.cond.snapshot"
#define LABEL_COND_USED_AT "containerd.io/gc.cond.value-usedat"
#define GC_SANDBOX ((GcKind)8) // only here: what its labels name are roots

struct GcGraph {
	Arena *arena;
	GHashTable *nodes;              // set of GcNode*, by kind, ns and key
	GHashTable *rows[GC_MOUNT + 1]; // by kind: row id -> GcNode*
	GHashTable *namespaces;         // set of const char*
	GPtrArray *list;
	GPtrArray *labels;     // of Label*
	GPtrArray *conditions; // of Condition*
	GArray *runs;
	TimeNs now;
};

typedef struct {
	GcNode *node;
	const char *key, *value;
} Label;

/* from keeps to while `compare` holds for the time at which `to` was used. */
typedef struct {
	GcNode *from, *to;
	bool within; // used less than `age` ago, else: more
	int64_t age;
} Condition;

/* ---- nodes ---- */

static guint node_hash(const void *p)
{
	const GcNode *n = p;
	return g_str_hash(n->key) * 31 + g_str_hash(n->ns) * 7 + (guint)n->kind;
}

static gboolean node_equal(const void *a, const void *b)
{
	const GcNode *x = a, *y = b;
	return x->kind == y->kind && strcmp(x->key, y->key) == 0 && strcmp(x->ns, y->ns) == 0;
}

GcNode *gc_graph_find(GcGraph *g, GcKind kind, const char *ns, const char *key)
{
	return g_hash_table_lookup(g->nodes, &(GcNode){.kind = kind, .ns = ns, .key = key});
}

static const char *intern_ns(GcGraph *g, const char *ns)
{
	const char *known = g_hash_table_lookup(g->namespaces, ns);
	if (known == NULL) {
		known = arena_strdup(g->arena, ns);
		g_hash_table_add(g->namespaces, (void *)known);
	}
	return known;
}

static GcNode *intern(GcGraph *g, GcKind kind, const char *ns, const char *key)
{
	GcNode *node = gc_graph_find(g, kind, ns, key);
	if (node != NULL)
		return node;
	node = arena_alloc(g->arena, sizeof(*node));
	node->kind = kind;
	node->ns = intern_ns(g, ns);
	node->key = arena_strdup(g->arena, key);
	g_hash_table_add(g->nodes, node);
	g_ptr_array_add(g->list, node);
	return node;
}

static GcNode *intern_snapshot(GcGraph *g, const char *ns, const char *snapshotter, size_t len,
                               const char *key)
{
	g_autofree char *name = g_strdup_printf("%.*s/%s", (int)len, snapshotter, key);
	return intern(g, GC_SNAPSHOT, ns, name);
}

static GcNode *add_row(GcGraph *g, GcNode *node, int64_t id)
{
	node->id = id;
	node->exists = true;
	g_hash_table_insert(g->rows[node->kind], &node->id, node);
	return node;
}

static void add_edge(GcNode *from, GcNode *to, bool structural)
{
	if (from->edges == NULL)
		from->edges = g_array_new(FALSE, FALSE, sizeof(GcEdge));
	GcEdge edge = {to, structural};
	g_array_append_val(from->edges, edge);
}

static void add_root(GcNode *node, bool flat)
{
	node->root |= flat ? GC_FLAT : GC_FULL;
}

GPtrArray *gc_graph_nodes(GcGraph *g)
{
	return g->list;
}

/* ---- labels ---- */

/* The label is `prefix`, or `prefix` with a name behind a dot or slash. */
static bool is_named(const char *label, const char *prefix)
{
	if (!g_str_has_prefix(label, prefix))
		return false;
	char next = label[strlen(prefix)];
	return next == '\0' || next == '.' || next == '/';
}

/* What a label of the family ("containerd.io/gc.ref." or "...bref.") names, NULL where it names nothing. */
static GcNode *referenced(GcGraph *g, const char *ns, const char *rest, const char *value)
{
	static const struct {
		const char *name;
		GcKind kind;
	} kinds[] = {{"content", GC_CONTENT},
	             {"image", GC_IMAGE},
	             {"container", GC_CONTAINER},
	             {"mount", GC_MOUNT}};
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		if (is_named(rest, kinds[i].name))
			return intern(g, kinds[i].kind, ns, value);
	}
	if (g_str_has_prefix(rest, "snapshot.")) {
		const char *snapshotter = rest + strlen("snapshot.");
		return intern_snapshot(g, ns, snapshotter, strcspn(snapshotter, "/"), value);
	}
	return NULL;
}

static GcNode *forward_reference(GcGraph *g, const char *ns, const Label *l)
{
	static const char family[] = "containerd.io/gc.ref.";
	if (!g_str_has_prefix(l->key, family))
		return NULL;
	const char *rest = l->key + strlen(family);
	for (guint i = 0; g->runs != NULL && i < g->runs->len; i++) {
		const GcRun *run = &g_array_index(g->runs, GcRun, i);
		if (run->run != NULL && run->collector->label != NULL &&
		    is_named(rest, run->collector->label))
			return intern(g, (GcKind)(GC_COLLECTED + i), ns, l->value);
	}
	// a container keeps itself; only back references name one
	return is_named(rest, "container") ? NULL : referenced(g, ns, rest, l->value);
}

static GcNode *back_reference(GcGraph *g, const char *ns, const Label *l)
{
	static const char family[] = "containerd.io/gc.bref.";
	return g_str_has_prefix(l->key, family) ? referenced(g, ns, l->key + strlen(family), l->value) : NULL;
}

/* `usedat<2h|key`, one condition of a list that is joined by commas. */
static bool parse_condition(const char *text, Condition *ret)
{
	size_t op = strcspn(text, "!<>=");
	if (op != strlen("usedat") || strncmp(text, "usedat", op) != 0)
		return false;
	// only < and >: of a time nothing else is of use
	if ((text[op] != '<' && text[op] != '>') || text[op + 1] == '=')
		return false;
	ret->within = text[op] == '<';
	return duration_parse(text + op + 1, &ret->age, NULL);
}

static void add_conditions(GcGraph *g, const Label *l)
{
	if (!g_str_has_prefix(l->key, LABEL_COND_SNAPSHOT))
		return;
	const char *snapshotter = l->key + strlen(LABEL_COND_SNAPSHOT);
	snapshotter += strspn(snapshotter, "./");
	const char *bar = strchr(l->value, '|');
	if (bar == NULL)
		return;
	GcNode *to = intern_snapshot(g, l->node->ns, snapshotter, strcspn(snapshotter, "/"), bar + 1);
	g_autofree char *all = g_strndup(l->value, (gsize)(bar - l->value));
	g_auto(GStrv) parts = g_strsplit(all, ",", -1);
	for (char **part = parts; *part != NULL; part++) {
		Condition c = {.from = l->node, .to = to};
		if (parse_condition(*part, &c)) {
			Condition *kept = arena_memdup(g->arena, &c, sizeof(c));
			g_ptr_array_add(g->conditions, kept);
		}
	}
}

static void add_label(GcGraph *g, const Label *l)
{
	GcNode *node = l->node, *other;
	bool is_root = (node->root & GC_FULL) != 0;
	switch ((int)node->kind) {
	case GC_SANDBOX:
		if ((other = forward_reference(g, node->ns, l)) != NULL)
			add_root(other, false);
		return;
	case GC_LEASE:
		return;
	default:
		break;
	}
	if ((other = forward_reference(g, node->ns, l)) != NULL) {
		add_edge(node, other, false);
	} else if ((other = back_reference(g, node->ns, l)) != NULL) {
		// an image that does not expire needs no other to keep it
		if (node->kind != GC_IMAGE || !is_root)
			add_edge(other, node, false);
	} else if (g_str_has_prefix(l->key, LABEL_GC_ROOT)) {
		if (node->kind == GC_CONTENT || node->kind == GC_SNAPSHOT)
			add_root(node, false);
	} else if (node->kind == GC_CONTENT || node->kind == GC_IMAGE) {
		add_conditions(g, l);
	}
}

/* When all labels are known: conditions meet the times at which snapshots were used. */
static void apply_conditions(GcGraph *g)
{
	for (guint i = 0; i < g->labels->len; i++) {
		const Label *l = g->labels->pdata[i];
		TimeNs used_at;
		if (l->node->kind != GC_SNAPSHOT || !g_str_has_prefix(l->key, LABEL_COND_USED_AT) ||
		    !time_parse_rfc3339(l->value, &used_at, NULL))
			continue;
		for (guint j = 0; j < g->conditions->len; j++) {
			const Condition *c = g->conditions->pdata[j];
			int64_t age = g->now - used_at;
			if (c->to == l->node && (c->within ? age < c->age : age > c->age))
				add_edge(c->from, c->to, false);
		}
	}
}

/* The value of gc.expire is in the past. One that can not be read does not count. */
static bool is_expired(GcGraph *g, const Label *l, const char *what)
{
	TimeNs at;
	g_autoptr(GError) cause = NULL;
	if (time_parse_rfc3339(l->value, &at, &cause))
		return g->now > at;
	log_info("ignoring invalid expiration value", what, l->node->key, "value", l->value, NULL);
	return false;
}

/* ---- loading ---- */

typedef bool (*RowFn)(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error);

static bool scan(GcGraph *g, MetaTx *tx, const char *sql, RowFn fn, GError **error)
{
	sqlite3_stmt *stmt = meta_query(tx, error, sql, "");
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row) {
			sqlite3_reset(stmt);
			return true;
		}
		if (!fn(g, stmt, tx, error))
			return false;
	}
	return false;
}

static bool on_namespace(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	intern_ns(g, meta_column_text(stmt, 0));
	return true;
}

static bool on_lease(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	GcNode *n = intern(g, GC_LEASE, meta_column_text(stmt, 1), meta_column_text(stmt, 2));
	add_root(add_row(g, n, sqlite3_column_int64(stmt, 0)), false); // until it is seen to be expired
	return true;
}

static bool on_image(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	const char *ns = meta_column_text(stmt, 1);
	GcNode *n =
	        add_row(g, intern(g, GC_IMAGE, ns, meta_column_text(stmt, 2)), sqlite3_column_int64(stmt, 0));
	add_root(n, false); // likewise
	add_edge(n, intern(g, GC_CONTENT, ns, meta_column_text(stmt, 3)), true);
	return true;
}

static bool on_blob(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	add_row(g, intern(g, GC_CONTENT, meta_column_text(stmt, 1), meta_column_text(stmt, 2)),
	        sqlite3_column_int64(stmt, 0));
	return true;
}

static bool on_ingest(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	const char *ns = meta_column_text(stmt, 1);
	GcNode *n = add_row(g, intern(g, GC_INGEST, ns, meta_column_text(stmt, 2)),
	                    sqlite3_column_int64(stmt, 0));
	n->name = arena_strdup(g->arena, meta_column_text(stmt, 3));
	// the shared blob that it stands for may have gone from the namespace it came from
	const char *expected = meta_column_text(stmt, 4);
	if (*expected != '\0')
		add_edge(n, intern(g, GC_CONTENT, ns, expected), true);
	if (sqlite3_column_type(stmt, 5) != SQLITE_NULL && sqlite3_column_int64(stmt, 5) >= g->now)
		add_root(n, false);
	return true;
}

static bool on_container(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	const char *ns = meta_column_text(stmt, 1), *snapshotter = meta_column_text(stmt, 3);
	GcNode *n = add_row(g, intern(g, GC_CONTAINER, ns, meta_column_text(stmt, 2)),
	                    sqlite3_column_int64(stmt, 0));
	add_root(n, false);
	if (*snapshotter != '\0')
		add_edge(n,
		         intern_snapshot(g, ns, snapshotter, strlen(snapshotter), meta_column_text(stmt, 4)),
		         true);
	return true;
}

static bool on_sandbox(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	add_row(g, intern(g, GC_SANDBOX, meta_column_text(stmt, 1), meta_column_text(stmt, 2)),
	        sqlite3_column_int64(stmt, 0));
	return true;
}

static bool on_snapshot(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	const char *snapshotter = meta_column_text(stmt, 2);
	add_row(g,
	        intern_snapshot(g, meta_column_text(stmt, 1), snapshotter, strlen(snapshotter),
	                        meta_column_text(stmt, 3)),
	        sqlite3_column_int64(stmt, 0));
	return true;
}

/* One that somebody is at stays. */
static bool on_mount(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	const char *ns = meta_column_text(stmt, 1), *lease = meta_column_text(stmt, 4);
	GcNode *n =
	        add_row(g, intern(g, GC_MOUNT, ns, meta_column_text(stmt, 2)), sqlite3_column_int64(stmt, 0));
	if (sqlite3_column_int(stmt, 3) == 0)
		add_root(n, false);
	if (*lease != '\0')
		add_edge(intern(g, GC_LEASE, ns, lease), n, true); // unless the lease has expired
	return true;
}

static bool on_parent(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	int64_t id = sqlite3_column_int64(stmt, 0), parent = sqlite3_column_int64(stmt, 1);
	GcNode *n = g_hash_table_lookup(g->rows[GC_SNAPSHOT], &id);
	GcNode *p = g_hash_table_lookup(g->rows[GC_SNAPSHOT], &parent);
	if (n != NULL && p != NULL)
		add_edge(n, p, true);
	return true;
}

static GcKind kind_of(MetaKind kind)
{
	switch (kind) {
	case META_IMAGE:
		return GC_IMAGE;
	case META_CONTAINER:
		return GC_CONTAINER;
	case META_SANDBOX:
		return GC_SANDBOX;
	case META_LEASE:
		return GC_LEASE;
	case META_BLOB:
		return GC_CONTENT;
	case META_SNAPSHOT:
		return GC_SNAPSHOT;
	case META_MOUNT:
		return GC_MOUNT;
	default:
		return 0;
	}
}

static bool on_label(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	GcKind kind = kind_of((MetaKind)sqlite3_column_int(stmt, 0));
	int64_t id = sqlite3_column_int64(stmt, 1);
	GcNode *node = kind != 0 ? g_hash_table_lookup(g->rows[kind], &id) : NULL;
	if (node == NULL)
		return true;
	Label l = {node, arena_strdup(g->arena, meta_column_text(stmt, 2)),
	           arena_strdup(g->arena, meta_column_text(stmt, 3))};
	bool expires = strcmp(l.key, LABEL_GC_EXPIRE) == 0;
	if (expires && ((kind == GC_LEASE && is_expired(g, &l, "lease")) ||
	                (kind == GC_IMAGE && is_expired(g, &l, "image"))))
		node->root = 0;
	else
		g_ptr_array_add(g->labels, arena_memdup(g->arena, &l, sizeof(l)));
	return true;
}

/* Keeps what the lease names, unless it has expired. */
static bool on_lease_resource(GcGraph *g, sqlite3_stmt *stmt, MetaTx *tx, GError **error)
{
	int64_t id = sqlite3_column_int64(stmt, 0);
	GcNode *lease = g_hash_table_lookup(g->rows[GC_LEASE], &id);
	if (lease == NULL || lease->root == 0)
		return true;
	const char *type = meta_column_text(stmt, 1), *key = meta_column_text(stmt, 2);
	bool flat = sqlite3_column_int(stmt, 3) != 0;
	if (strcmp(type, "content") == 0)
		add_root(intern(g, GC_CONTENT, lease->ns, key), flat);
	else if (strcmp(type, "images") == 0)
		add_root(intern(g, GC_IMAGE, lease->ns, key), flat);
	else if (strcmp(type, "ingests") == 0)
		add_root(intern(g, GC_INGEST, lease->ns, key), false);
	else if (g_str_has_prefix(type, "snapshots/"))
		add_root(intern_snapshot(g, lease->ns, type + strlen("snapshots/"),
		                         strlen(type) - strlen("snapshots/"), key),
		         flat);
	return true;
}

/* ---- collectors ---- */

typedef struct {
	GcGraph *graph;
	GcKind kind;
	enum { EMIT_ALL, EMIT_ROOT } what;
} Sink;

static void on_emit(void *data, const char *ns, const char *key)
{
	Sink *sink = data;
	GcNode *n = intern(sink->graph, sink->kind, ns, key);
	if (sink->what == EMIT_ALL)
		n->exists = true;
	else
		add_root(n, false);
}

static void on_bref(void *data, GcKind parent_kind, const char *ns, const char *parent, const char *key)
{
	Sink *sink = data;
	add_edge(intern(sink->graph, parent_kind, ns, parent), intern(sink->graph, sink->kind, ns, key),
	         false);
}

/* namespaces: those of the database, as upstream; what is in others has gone. */
static void load_collected(GcGraph *g, guint i, void **namespaces, guint n_namespaces)
{
	const GcRun *run = &g_array_index(g->runs, GcRun, i);
	if (run->run == NULL)
		return;
	Sink sink = {g, (GcKind)(GC_COLLECTED + i), EMIT_ALL};
	run->collector->all(run->run, on_emit, &sink);
	sink.what = EMIT_ROOT;
	for (guint n = 0; n < n_namespaces; n++)
		run->collector->active(run->run, namespaces[n], on_emit, on_bref, &sink);
	GHashTableIter iter;
	void *lease;
	g_hash_table_iter_init(&iter, g->rows[GC_LEASE]);
	while (g_hash_table_iter_next(&iter, NULL, &lease)) {
		const GcNode *l = lease;
		if (l->root != 0)
			run->collector->leased(run->run, l->ns, l->key, on_emit, &sink);
	}
}

static bool load(GcGraph *g, MetaTx *tx, GError **error)
{
	static const struct {
		const char *sql;
		RowFn fn;
	} scans[] = {
	        {"SELECT name FROM namespace", on_namespace},
	        {"SELECT id, ns, name FROM lease", on_lease},
	        {"SELECT id, ns, name, digest FROM image", on_image},
	        {"SELECT id, ns, digest FROM blob", on_blob},
	        {"SELECT id, ns, ref, backend_ref, expected, expires FROM ingest", on_ingest},
	        {"SELECT id, ns, name, snapshotter, snapshot_key FROM container", on_container},
	        {"SELECT id, ns, name FROM sandbox", on_sandbox},
	        {"SELECT id, ns, snapshotter, key FROM snapshot", on_snapshot},
	        {"SELECT id, ns, name, active, lease FROM mount", on_mount},
	        {"SELECT id, parent FROM snapshot WHERE parent IS NOT NULL", on_parent},
	        {"SELECT kind, object, key, value FROM label"
	         " WHERE key >= '" GC_PREFIX "' AND key < 'containerd.io/gc/'",
	         on_label},
	        {"SELECT lease, type, r.key, l.key IS NOT NULL FROM lease_resource r LEFT JOIN label l"
	         " ON l.kind = 5 AND l.object = r.lease AND l.key = '" LABEL_GC_FLAT "'",
	         on_lease_resource},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(scans); i++) {
		if (!scan(g, tx, scans[i].sql, scans[i].fn, error))
			return error_prefix(error, "failed to scan");
	}
	for (guint i = 0; i < g->labels->len; i++)
		add_label(g, g->labels->pdata[i]);
	apply_conditions(g);
	guint n_namespaces;
	g_autofree void **namespaces = g_hash_table_get_keys_as_array(g->namespaces, &n_namespaces);
	for (guint i = 0; g->runs != NULL && i < g->runs->len; i++)
		load_collected(g, i, namespaces, n_namespaces);
	return true;
}

GcGraph *gc_graph_load(MetaTx *tx, GArray *runs, TimeNs now, GError **error)
{
	g_autoptr(GcGraph) g = g_new0(GcGraph, 1);
	g->arena = arena_new();
	g->nodes = g_hash_table_new(node_hash, node_equal);
	for (size_t i = 0; i < G_N_ELEMENTS(g->rows); i++)
		g->rows[i] = g_hash_table_new(g_int64_hash, g_int64_equal);
	g->namespaces = g_hash_table_new(g_str_hash, g_str_equal);
	g->list = g_ptr_array_new();
	g->labels = g_ptr_array_new();
	g->conditions = g_ptr_array_new();
	g->runs = runs;
	g->now = now;
	return load(g, tx, error) ? g_steal_pointer(&g) : NULL;
}

void gc_graph_free(GcGraph *g)
{
	if (g == NULL)
		return;
	for (guint i = 0; i < g->list->len; i++) {
		GcNode *node = g->list->pdata[i];
		g_clear_pointer(&node->edges, g_array_unref);
	}
	g_hash_table_unref(g->nodes);
	for (size_t i = 0; i < G_N_ELEMENTS(g->rows); i++)
		g_hash_table_unref(g->rows[i]);
	g_hash_table_unref(g->namespaces);
	g_ptr_array_unref(g->list);
	g_ptr_array_unref(g->labels);
	g_ptr_array_unref(g->conditions);
	arena_free(g->arena);
	g_free(g);
}

/* ---- marking ---- */

static void visit(GPtrArray *todo, GcNode *node, uint8_t how)
{
	if (node->marked >= how) // full includes flat
		return;
	node->marked = how;
	g_ptr_array_add(todo, node);
}

void gc_graph_mark(GcGraph *g)
{
	g_autoptr(GPtrArray) todo = g_ptr_array_new();
	for (guint i = 0; i < g->list->len; i++) {
		GcNode *node = g->list->pdata[i];
		if (node->root != 0)
			visit(todo, node, (node->root & GC_FULL) != 0 ? GC_FULL : GC_FLAT);
	}
	while (todo->len > 0) {
		GcNode *node = g_ptr_array_steal_index_fast(todo, todo->len - 1);
		for (guint i = 0; node->edges != NULL && i < node->edges->len; i++) {
			const GcEdge *edge = &g_array_index(node->edges, GcEdge, i);
			if (node->marked == GC_FULL || edge->structural)
				visit(todo, edge->to, node->marked);
		}
	}
}

bool gc_node_is_garbage(const GcNode *node)
{
	return node->exists && node->marked == 0 && node->kind != GC_CONTAINER && node->kind != GC_SANDBOX;
}
