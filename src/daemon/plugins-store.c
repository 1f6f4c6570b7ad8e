// SPDX-License-Identifier: Apache-2.0
/* Content, snapshotters, metadata, garbage collection, leases. */
#include "base/error.h"
#include "base/fs.h"
#include "daemon/builtins.h"
#include "daemon/metadata.h"
#include "services/event-field.h"
#include "services/services.h"
#include "store/gc.h"

/* ---- content ---- */

static bool content_init(PluginInit *init, void **ret, GError **error)
{
	plugin_add_export(init, "root", plugin_root_dir(init));
	return (*ret = content_local_new(plugin_root_dir(init), error)) != NULL;
}

static void content_close(void *instance)
{
	content_store_free(instance);
}

const PluginRegistration plugin_content = {PLUGIN_CONTENT, "content",     NULL, content_init,
                                           NULL,           content_close, NULL, NULL};

/* ---- snapshotters: the instance is a driver, which the metadata plugin takes ---- */

static const char *snapshotter_root(PluginInit *init)
{
	const char *configured = conf_string(plugin_config(init), "root_path");
	return str_empty(configured) ? plugin_root_dir(init) : configured;
}

static void add_driver(PluginInit *init, const SnapshotDriver *driver)
{
	plugin_add_platform(init, platform_default_text());
	plugin_add_export(init, "root", driver->root);
	for (const char *const *c = driver->capabilities; c != NULL && *c != NULL; c++)
		plugin_add_capability(init, *c);
}

static bool overlayfs_init(PluginInit *init, void **ret, GError **error)
{
	TomlValue *config = plugin_config(init);
	g_auto(GStrv) mount_options = conf_strings(config, "mount_options");
	OverlayOptions options = {
	        .upperdir_label = conf_bool(config, "upperdir_label"),
	        .sync_remove = conf_bool(config, "sync_remove"),
	        .slow_chown = conf_bool(config, "slow_chown"),
	        .mount_options = mount_options,
	};
	SnapshotDriver *driver = snapshot_overlayfs_new(snapshotter_root(init), &options, error);
	if (driver == NULL)
		return false;
	add_driver(init, driver);
	*ret = driver;
	return true;
}

const PluginRegistration plugin_overlayfs = {
        PLUGIN_SNAPSHOT, "overlayfs", NULL, overlayfs_init, NULL, NULL, NULL, NULL};

static bool native_init(PluginInit *init, void **ret, GError **error)
{
	SnapshotDriver *driver = snapshot_native_new(snapshotter_root(init), error);
	if (driver == NULL)
		return false;
	add_driver(init, driver);
	*ret = driver;
	return true;
}

const PluginRegistration plugin_native = {
        PLUGIN_SNAPSHOT, "native", NULL, native_init, NULL, NULL, NULL, NULL};

/* ---- events ---- */

static bool exchange_init(PluginInit *init, void **ret, GError **error)
{
	Exchange *exchange = exchange_new();
	exchange_set_field_fn(exchange, event_field);
	*ret = exchange;
	return true;
}

static void exchange_close(void *instance)
{
	exchange_free(instance);
}

const PluginRegistration plugin_exchange = {PLUGIN_EVENT, "exchange",     NULL, exchange_init,
                                            NULL,         exchange_close, NULL, NULL};

/* ---- metadata ---- */

static void metadata_close(void *instance)
{
	Metadata *m = instance;
	metrics_remove(m->collector);
	g_hash_table_unref(m->snapshotters);
	content_store_free(m->content);
	meta_close(m->db);
	g_free(m);
}

static bool add_snapshotters(PluginInit *init, Metadata *m, GError **error)
{
	const GPtrArray *all = plugins_all(plugin_set(init));
	for (guint i = 0; i < all->len; i++) {
		const Plugin *p = all->pdata[i];
		if (p->state != PLUGIN_OK || !g_str_equal(p->registration->type, PLUGIN_SNAPSHOT))
			continue;
		const char *id = p->registration->id;
		Snapshotter *s = plugin_is_proxy(p) ? snapshotter_remote_new(m->db, id, p->instance)
		                                    : snapshotter_local_new(m->db, id, p->instance, error);
		if (s == NULL)
			return false;
		g_hash_table_insert(m->snapshotters, g_strdup(p->registration->id), s);
	}
	return true;
}

static void metadata_collect(MetricWriter *writer, void *data)
{
	const Metadata *m = data;
	metric_family(writer, "containerd_metadata_commit_seconds",
	              "Duration of commits of the metadata database, each of one or more updates",
	              METRIC_HISTOGRAM);
	metric_timer_write(writer, meta_commit_times(m->db), NULL);
}

static bool metadata_init(PluginInit *init, void **ret, GError **error)
{
	TomlValue *config = plugin_config(init);
	ContentStore *content = plugin_get_content(init, error);
	Exchange *exchange = plugin_get_events(init, error);
	if (content == NULL || exchange == NULL)
		return false;
	const char *policy = conf_string(config, "content_sharing_policy");
	bool isolated = g_str_equal(policy, "isolated");
	if (!isolated && !str_empty(policy) && !g_str_equal(policy, "shared"))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "unknown policy: %s", policy);
	plugin_add_export(init, "policy", isolated ? "isolated" : "shared");
	g_autofree char *path = path_join(plugin_root_dir(init), "meta.sqlite");
	if (!dir_make_all(plugin_root_dir(init), 0700, error))
		return false;
	MetaOptions options = {
	        .no_sync = conf_bool(config, "no_sync"),
	        .isolated = isolated,
	        .sink = store_event_sink(exchange),
	};
	MetaDb *db = meta_open(path, &options, error);
	if (db == NULL)
		return false;
	Metadata *m = g_new0(Metadata, 1);
	m->db = db;
	m->content = content_meta_new(db, content);
	m->snapshotters =
	        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)snapshotter_free);
	if (!add_snapshotters(init, m, error)) {
		metadata_close(m);
		return false;
	}
	m->collector = metrics_add(metadata_collect, m);
	*ret = m;
	return true;
}

static const char *const metadata_requires[] = {PLUGIN_CONTENT, PLUGIN_EVENT, PLUGIN_SNAPSHOT, NULL};
const PluginRegistration plugin_metadata = {
        PLUGIN_METADATA, "bolt", metadata_requires, metadata_init, NULL, metadata_close, NULL, NULL};

/* ---- gc ---- */

static GcOptions gc_options(const TomlValue *config)
{
	return (GcOptions){
	        .pause_threshold = conf_float(config, "pause_threshold"),
	        .deletion_threshold = conf_int(config, "deletion_threshold"),
	        .mutation_threshold = conf_int(config, "mutation_threshold"),
	        .schedule_delay_ns = conf_duration(config, "schedule_delay"),
	        .startup_delay_ns = conf_duration(config, "startup_delay"),
	};
}

static void gc_collect_metrics(MetricWriter *writer, void *data)
{
	const GcMetrics *m = gc_metrics(data);
	metric_family(writer, "containerd_gc_collections_total", "counter of gc scheduler collections",
	              METRIC_COUNTER);
	if (metric_counter_get(&m->succeeded) > 0)
		metric_sample(writer, (double)metric_counter_get(&m->succeeded), "status", "success", NULL);
	if (metric_counter_get(&m->failed) > 0)
		metric_sample(writer, (double)metric_counter_get(&m->failed), "status", "fail", NULL);
	metric_family(writer, "containerd_gc_gc_seconds", "duration of gc scheduler collections",
	              METRIC_HISTOGRAM);
	metric_timer_write(writer, &m->times, NULL);
}

/* The plugin's instance is the Gc, so the id of its collector lies here: there is one. */
static unsigned gc_collector;

static bool gc_init(PluginInit *init, void **ret, GError **error)
{
	Metadata *m = plugin_get_metadata_plugin(init, error);
	ContentStore *backend = plugin_get_content(init, error);
	if (m == NULL || backend == NULL)
		return false;
	GcOptions options = gc_options(plugin_config(init));
	*ret = gc_new(m->db, backend, m->snapshotters, &options);
	gc_collector = metrics_add(gc_collect_metrics, *ret);
	return true;
}

static bool gc_reload(void *instance, const PluginReload *fresh, GError **error)
{
	GcOptions options = gc_options(fresh->view);
	gc_set_options(instance, &options);
	return true;
}

static void gc_close(void *instance)
{
	metrics_remove(gc_collector);
	gc_free(instance);
}

static const char *const gc_requires[] = {PLUGIN_METADATA, PLUGIN_CONTENT, NULL};
static const char *const gc_keys[] = {"pause_threshold", "deletion_threshold", "mutation_threshold",
                                      "schedule_delay", NULL};
const PluginRegistration plugin_gc = {.type = PLUGIN_GC,
                                      .id = "scheduler",
                                      .requires = gc_requires,
                                      .init = gc_init,
                                      .close = gc_close,
                                      .reload = gc_reload,
                                      .reload_keys = gc_keys};

/* ---- leases: the manager is the metadata database with the collector ---- */

static bool leases_init(PluginInit *init, void **ret, GError **error)
{
	return (*ret = plugin_get_metadata_plugin(init, error)) != NULL;
}

static const char *const leases_requires[] = {PLUGIN_METADATA, PLUGIN_GC, NULL};
const PluginRegistration plugin_leases = {PLUGIN_LEASE, "manager", leases_requires, leases_init, NULL, NULL,
                                          NULL,         NULL};
