// SPDX-License-Identifier: Apache-2.0

#include "store/mounts.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/identifiers.h"
#include "base/log.h"
#include "loop/lock.h"
#include "store/meta-private.h"
#include "store/mounts-rows.h"
#include <string.h>

#define MOUNTS_MAX 255 // upstream's: the position is a byte there

struct MountManager {
	MetaDb *db;
	Gc *gc;
	char *dir;
	char *roots[3];
	GHashTable *handlers; // type -> const MountHandler*

	Lock lock;
	Cond changed;
	GHashTable *names; // set of "ns/name": somebody is at it
	GHashTable *ids;   // set of int64_t*: whose directory somebody is at
};

void activation_free(Activation *a)
{
	if (a == NULL)
		return;
	g_free(a->name);
	g_clear_pointer(&a->active, g_ptr_array_unref);
	g_clear_pointer(&a->system, g_ptr_array_unref);
	g_clear_pointer(&a->labels, g_hash_table_unref);
	g_free(a);
}

static const MountHandler *handler_of(MountManager *m, const char *type)
{
	return g_hash_table_lookup(m->handlers, str_or(type, ""));
}

static const MountHandler *handler_or_system(MountManager *m, const char *type)
{
	const MountHandler *h = handler_of(m, type);
	return h != NULL ? h : &mount_handler_system;
}

/* ---- one at a time for each name, and for each directory ---- */

typedef struct {
	MountManager *m;
	char *key;
} NameHold;

static void name_release(NameHold *h)
{
	if (h->key == NULL)
		return;
	LOCK_SCOPE(&h->m->lock);
	g_hash_table_remove(h->m->names, h->key);
	g_free(h->key);
	cond_broadcast(&h->m->changed);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(NameHold, name_release)

static void on_cancel(void *data)
{
	MountManager *m = data;
	LOCK_SCOPE(&m->lock);
	cond_broadcast(&m->changed);
}

static bool name_wait(MountManager *m, const Ctx *ctx, const char *key, GError **error)
{
	LOCK_SCOPE(&m->lock);
	int64_t deadline = ctx->cancel != NULL ? cancel_deadline(ctx->cancel) : 0;
	while (g_hash_table_contains(m->names, key)) {
		if (!cancel_check(ctx->cancel, error))
			return false;
		cond_wait_until(&m->changed, &m->lock, deadline);
	}
	g_hash_table_add(m->names, g_strdup(key));
	return true;
}

static bool name_hold(NameHold *h, MountManager *m, const Ctx *ctx, const char *name, GError **error)
{
	if (meta_namespace(ctx, error) == NULL)
		return false;
	if (str_empty(name))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "mount name is required");
	g_autofree char *key = g_strdup_printf("%s/%s", ctx->ns, name);
	unsigned id = ctx->cancel != NULL ? cancel_on(ctx->cancel, on_cancel, m) : 0;
	bool ok = name_wait(m, ctx, key, error);
	if (id != 0)
		cancel_off(ctx->cancel, id);
	if (ok)
		*h = (NameHold){m, g_steal_pointer(&key)};
	return ok;
}

/* false: somebody else is at it. */
static bool id_hold(MountManager *m, int64_t id)
{
	LOCK_SCOPE(&m->lock);
	return g_hash_table_add(m->ids, g_memdup2(&id, sizeof(id)));
}

static void id_release(MountManager *m, int64_t id)
{
	LOCK_SCOPE(&m->lock);
	g_hash_table_remove(m->ids, &id);
}

/* ---- taking mounts away ---- */

static bool unmount_point(MountManager *m, const char *type, const char *point, GError **error)
{
	return handler_or_system(m, type)->unmount(point, error);
}

static char *dir_of(MountManager *m, int64_t id)
{
	return g_strdup_printf("%s/%" G_GINT64_FORMAT, m->dir, id);
}

static int by_number_down(gconstpointer a, gconstpointer b)
{
	guint64 x = g_ascii_strtoull(*(const char *const *)a, NULL, 10);
	guint64 y = g_ascii_strtoull(*(const char *const *)b, NULL, 10);
	return x < y ? 1 : x > y ? -1 : 0;
}

static char *type_of(const char *dir, const char *name)
{
	g_autofree char *path = g_strdup_printf("%s/%s-type", dir, name);
	char *type = NULL;
	return file_read(path, 4096, &type, NULL, NULL) ? type : NULL;
}

/* Everything below an activation's directory, last first, then the directory. Goes on after a failure and
 * returns the first; then the directory stays. */
static bool clean_dir(MountManager *m, int64_t id, GError **error)
{
	g_autofree char *dir = dir_of(m, id);
	if (!path_exists(dir))
		return true;
	g_autoptr(GPtrArray) names = dir_list(dir, 0, error);
	if (names == NULL)
		return false;
	g_ptr_array_sort(names, by_number_down);
	GError *first = NULL;
	for (guint i = 0; i < names->len; i++) {
		if (g_str_has_suffix(names->pdata[i], "-type"))
			continue;
		g_autofree char *type = type_of(dir, names->pdata[i]);
		g_autofree char *point = path_join(dir, names->pdata[i]);
		unmount_point(m, type, point, first == NULL ? &first : NULL);
	}
	if (first != NULL) {
		g_propagate_error(error, first);
		return error_prefix(error, "unmount all failed during cleanup up %s", dir);
	}
	return tree_remove(dir, error);
}

static bool clean_unnamed(MountManager *m, GError **error)
{
	// directories before rows: a row comes before its directory
	g_autoptr(GPtrArray) names = dir_list(m->dir, 0, error);
	g_autoptr(GHashTable) ids = names != NULL ? mount_rows_ids(m->db, error) : NULL;
	if (ids == NULL)
		return false;
	GError *first = NULL;
	for (guint i = 0; i < names->len; i++) {
		int64_t id;
		if (!parse_i64(names->pdata[i], &id) || g_hash_table_contains(ids, &id) || !id_hold(m, id))
			continue;
		clean_dir(m, id, first == NULL ? &first : NULL);
		id_release(m, id);
	}
	if (first == NULL)
		return true;
	g_propagate_error(error, first);
	return false;
}

static bool gc_clean(void *data, GError **error)
{
	return clean_unnamed(data, error);
}

/* ---- what is to be done ---- */

typedef struct {
	MountTransformFn fn;
	const char *rest; // the type without the transformer's name; in the mount's type
} Step;

#define STEPS_MAX 8

typedef struct {
	Step steps[STEPS_MAX];
	int n_steps;
	const char *type; // what is left of the type
} Plan;

static bool is_allowed(const ActivateOptions *o, const char *type)
{
	return o->allow_types != NULL && g_strv_contains(o->allow_types, type);
}

/* May this transformer of this mount run? Not where the caller does it, or all of the type. */
static bool shall_transform(const ActivateOptions *o, const char *name, size_t len, const char *type)
{
	g_autofree char *all = g_strdup_printf("%.*s/*", (int)len, name);
	return !is_allowed(o, all) && !is_allowed(o, type);
}

/* true: a transformer of it is ours to run. */
static bool plan_mount(Plan *plan, const Mount *m, const ActivateOptions *o)
{
	const char *type = str_or(m->type, ""), *slash;
	bool ours = false;
	plan->type = type;
	while ((slash = strchr(plan->type, '/')) != NULL) {
		size_t len = (size_t)(slash - plan->type);
		MountTransformFn fn = mount_transformer(plan->type, len);
		if (fn == NULL || plan->n_steps == STEPS_MAX) {
			log_warn("unknown transform for mount", "type", type, NULL);
			break;
		}
		ours |= shall_transform(o, plan->type, len, type);
		plan->steps[plan->n_steps++] = (Step){fn, slash + 1};
		plan->type = slash + 1;
	}
	return ours;
}

/* How many of the mounts are the manager's, -1: it has nothing to do with them. */
static int plan_all(MountManager *m, GPtrArray *mounts, const ActivateOptions *o, Plan *plans)
{
	int first_system = -1;
	for (guint i = 0; i < mounts->len; i++) {
		Plan *plan = &plans[i];
		if (plan_mount(plan, mounts->pdata[i], o))
			first_system = (int)i;
		const MountHandler *h = handler_of(m, plan->type);
		if (o->temporary || (h != NULL && !is_allowed(o, plan->type)))
			first_system = (int)i + 1;
	}
	return first_system;
}

bool mount_manager_wants(MountManager *m, GPtrArray *mounts)
{
	static const ActivateOptions none = {0};
	for (guint i = 0; i < mounts->len; i++) {
		Plan plan = {0};
		const Mount *mount = mounts->pdata[i];
		if (strchr(str_or(mount->type, ""), '/') != NULL && plan_mount(&plan, mount, &none))
			return true;
		if (handler_of(m, mount->type) != NULL)
			return true;
	}
	return false;
}

/* ---- doing it ---- */

/* One activation on its way; undone unless completed. */
typedef struct {
	MountManager *m;
	int64_t id; // 0: no row
	char *dir;
	Activation *a;
} Work;

static void work_clear(Work *w)
{
	if (w->id != 0) {
		/* while the row is there, what a crash leaves is found at the next start; afterwards the
		 * collector finds it */
		g_autoptr(GError) error = NULL;
		bool clean = clean_dir(w->m, w->id, &error);
		if (!clean)
			log_error_take(LOG_ERROR, g_steal_pointer(&error),
			               "failed to cleanup mount after failed activation", "dir", w->dir,
			               NULL);
		id_release(w->m, w->id); // before the collector may look
		if (!mount_row_drop(w->m->db, w->id, !clean, &error))
			log_error_take(LOG_ERROR, g_steal_pointer(&error), "failed to rollback", "name",
			               w->a->name, NULL);
	}
	g_free(w->dir);
	activation_free(w->a);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Work, work_clear)

static Mount *transform(const Work *w, const Plan *plan, const Mount *m, GError **error)
{
	g_autoptr(Mount) now = mount_copy(m);
	MountTransformEnv env = {(const char *const *)w->m->roots, w->a->active};
	for (int i = 0; i < plan->n_steps; i++) {
		g_free(now->type);
		now->type = g_strdup(plan->steps[i].rest);
		Mount *next = plan->steps[i].fn(now, &env, error);
		if (next == NULL)
			return NULL;
		mount_free(now);
		now = next;
	}
	return g_steal_pointer(&now);
}

/* As Go prints the structure: {type source target [options]}. */
static char *mount_text(const Mount *m)
{
	g_autofree char *options = g_strjoinv(" ", m->options);
	return g_strdup_printf("{%s %s %s [%s]}", str_or(m->type, ""), str_or(m->source, ""),
	                       str_or(m->target, ""), options);
}

static bool do_mount(Work *w, const Plan *plan, const Mount *m, guint n, GError **error)
{
	g_autoptr(Mount) ready = transform(w, plan, m, error);
	if (ready == NULL)
		return false;
	g_autofree char *point = g_strdup_printf("%s/%u", w->dir, n);
	g_autofree char *type_file = g_strconcat(point, "-type", NULL);
	const char *type = str_or(ready->type, "");
	if (!file_write_atomic(type_file, type, strlen(type), 0600, false, error))
		return false;
	const MountHandler *h = handler_of(w->m, type);
	ActiveMount *done = (h != NULL ? h : &mount_handler_system)->mount(ready, point, w->a->active, error);
	if (done == NULL) {
		g_autofree char *text = mount_text(ready);
		return error_prefix(error, h != NULL ? "mount handler failed %s" : "mount failed %s", text);
	}
	g_ptr_array_add(w->a->active, done);
	return true;
}

static bool all_allowed(const Plan *plan, const Mount *m, const ActivateOptions *o)
{
	Plan again = {0};
	return plan->n_steps > 0 && !plan_mount(&again, m, o);
}

static bool do_mounts(Work *w, GPtrArray *mounts, const Plan *plans, guint first_system,
                      const ActivateOptions *o, GError **error)
{
	if (mkdir(w->dir, 0700) != 0)
		return error_set_errno(error, errno, "mkdir %s", w->dir);
	for (guint i = 0; i < first_system; i++) {
		if (!do_mount(w, &plans[i], mounts->pdata[i], i + 1, error))
			return false;
	}
	for (guint i = first_system; i < mounts->len; i++) {
		const Mount *m = mounts->pdata[i];
		// only the first may depend on ours: had a later one to be transformed, it would be the first
		Mount *left = i == first_system && !all_allowed(&plans[i], m, o)
		                      ? transform(w, &plans[i], m, error)
		                      : mount_copy(m);
		if (left == NULL)
			return false;
		g_ptr_array_add(w->a->system, left);
	}
	if (o->temporary && first_system > 0) {
		const ActiveMount *last = w->a->active->pdata[first_system - 1];
		g_ptr_array_add(w->a->system,
		                mount_new("bind", last->point, "", (const char *const[]){"rbind", NULL}));
	}
	return true;
}

static bool begin(Work *w, MountManager *m, const Ctx *ctx, const char *name, GHashTable *labels,
                  GError **error)
{
	w->m = m;
	w->a = g_new0(Activation, 1);
	w->a->name = g_strdup(name);
	w->a->active = active_mounts_new();
	w->a->system = mounts_new();
	w->a->labels = strmap_copy(labels);
	int64_t id;
	if (!mount_row_begin(m->db, ctx, name, labels, &id, error))
		return false;
	/* a number is never used again, but the directory may stand there from before the database */
	id_hold(m, id);
	w->id = id;
	w->dir = dir_of(m, id);
	return clean_dir(m, id, error);
}

Activation *mount_manager_activate(MountManager *m, const Ctx *ctx, const char *name, GPtrArray *mounts,
                                   const ActivateOptions *options, GError **error)
{
	g_auto(NameHold) hold = {0};
	if (!name_hold(&hold, m, ctx, name, error))
		return NULL;
	if (mounts->len > MOUNTS_MAX) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "too many mounts (%u): maximum %d",
		                mounts->len, MOUNTS_MAX);
		return NULL;
	}
	if (options->labels != NULL && !labels_validate(options->labels, error))
		return NULL;
	g_autofree Plan *plans = g_new0(Plan, MAX(mounts->len, 1));
	int first_system = plan_all(m, mounts, options, plans);
	if (first_system < 0) {
		error_set(error, CTRD_ERR_NOT_IMPLEMENTED, "%s", error_class_text(CTRD_ERR_NOT_IMPLEMENTED));
		return NULL;
	}
	g_auto(Work) w = {0};
	if (!begin(&w, m, ctx, name, options->labels, error) ||
	    !do_mounts(&w, mounts, plans, (guint)first_system, options, error) ||
	    !mount_row_complete(m->db, w.id, w.a, error))
		return NULL;
	id_release(m, w.id);
	w.id = 0;
	return g_steal_pointer(&w.a);
}

/* ---- the rest ---- */

bool mount_manager_deactivate(MountManager *m, const Ctx *ctx, const char *name, GError **error)
{
	g_auto(NameHold) hold = {0};
	if (!name_hold(&hold, m, ctx, name, error))
		return false;
	int64_t id = 0;
	g_autoptr(GError) failed = NULL;
	g_autoptr(Activation) a = mount_row_get(m->db, ctx, name, &id, &failed);
	if (a == NULL && error_is(failed, CTRD_ERR_NOT_FOUND))
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "missing mount %s bucket", Q(name));
	if (a == NULL) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	id_hold(m, id);
	bool dropped = mount_row_drop(m->db, id, false, error);
	bool ok = dropped && clean_dir(m, id, error);
	id_release(m, id);
	if (dropped && !ok)
		meta_put_dirty(m->db, "mounts");
	return ok;
}

Activation *mount_manager_info(MountManager *m, const Ctx *ctx, const char *name, GError **error)
{
	return meta_namespace(ctx, error) != NULL ? mount_row_get(m->db, ctx, str_or(name, ""), NULL, error)
	                                          : NULL;
}

Activation *mount_manager_update(MountManager *m, const Ctx *ctx, const Activation *input,
                                 const char *const *paths, GError **error)
{
	if (meta_namespace(ctx, error) == NULL || !labels_validate(input->labels, error))
		return NULL;
	return mount_row_update(m->db, ctx, input, paths, error);
}

GPtrArray *mount_manager_list(MountManager *m, const Ctx *ctx, const char *const *filters, GError **error)
{
	return meta_namespace(ctx, error) != NULL ? mount_rows_list(m->db, ctx, filters, error) : NULL;
}

/* ---- start and end ---- */

static bool is_there(MountManager *m, const Activation *a)
{
	for (guint i = 0; i < a->active->len; i++) {
		const ActiveMount *part = a->active->pdata[i];
		if (!handler_or_system(m, part->mount->type)->is_mounted(part->mount, part->point))
			return false;
	}
	return true;
}

/* The database survives a reboot, mounts do not. What could not be unmounted is no reason not to start. */
static bool recover(MountManager *m, GError **error)
{
	g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(int64_t));
	g_autoptr(GPtrArray) all = mount_rows_recover(m->db, ids, error);
	for (guint i = 0; all != NULL && i < all->len; i++) {
		const Activation *a = all->pdata[i];
		if (is_there(m, a))
			continue;
		log_info("dropping an activation whose mounts are gone", "name", a->name, NULL);
		if (!mount_row_drop(m->db, g_array_index(ids, int64_t, i), false, error))
			return false;
	}
	if (all == NULL)
		return false;
	g_autoptr(GError) left = NULL;
	if (!clean_unnamed(m, &left)) {
		log_error_take(LOG_ERROR, g_steal_pointer(&left), "failed to sync mounts", NULL);
		meta_put_dirty(m->db, "mounts");
	}
	return true;
}

MountManager *mount_manager_new(MetaDb *db, Gc *gc, const char *dir, const char *root, GHashTable *handlers,
                                GError **error)
{
	if (!dir_make_all(dir, 0700, error))
		return NULL;
	g_autoptr(MountManager) m = g_new0(MountManager, 1);
	m->db = db;
	m->dir = g_strdup(dir);
	m->roots[0] = path_clean(dir);
	m->roots[1] = path_clean(root);
	m->handlers = g_hash_table_ref(handlers);
	m->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	m->ids = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	lock_init(&m->lock, "mount-manager", LOCK_RANK_LEAF);
	cond_init(&m->changed);
	if (!recover(m, error))
		return NULL;
	m->gc = gc;
	if (gc != NULL)
		gc_set_mounts_cleaner(gc, gc_clean, m);
	return g_steal_pointer(&m);
}

void mount_manager_free(MountManager *m)
{
	if (m == NULL)
		return;
	if (m->gc != NULL)
		gc_set_mounts_cleaner(m->gc, NULL, NULL);
	g_free(m->dir);
	g_free(m->roots[0]);
	g_free(m->roots[1]);
	g_hash_table_unref(m->handlers);
	g_hash_table_unref(m->names);
	g_hash_table_unref(m->ids);
	cond_destroy(&m->changed);
	lock_destroy(&m->lock);
	g_free(m);
}
