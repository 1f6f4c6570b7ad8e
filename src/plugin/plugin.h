// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Plugins: upstream's registry, graph and init context (vendor/github.com/containerd/plugin and
 * cmd/containerd/server/server.go).
 *
 * A registration is static data: type, id, types it requires, init. plugins_start orders them (what is
 * required comes first, `*` means all others), leaves out the disabled ones, decodes each section and calls
 * init. A plugin that fails is logged and kept with its error, and what needs it fails in turn; the daemon
 * stops only for required plugins, undecodable sections, and plugins that failed after they registered
 * readiness. Then every plugin's start runs in the same order (servers begin to listen); close runs in
 * reverse order.
 *
 * Threads: registering, starting and closing are for one thread (not the loop's: init may block). Afterwards
 * plugins_* lookups are for any thread: nothing changes any more.
 *
 * Reload (SIGHUP): a plugin that can change in the running daemon names the keys and has a reload function;
 * see PluginReload. A changed key that nobody names is logged with its whole name as one that needs a
 * restart.
 *
 * How to write one: a file src/daemon/plugins-<area>.c with an init function and a const PluginRegistration,
 * named in the list of src/daemon/builtins.c. Its section is declared in plugin/schemas.c and found by URI.
 */

#include "loop/ctx.h"
#include "loop/loop.h"
#include "loop/pool.h"
#include "plugin/config.h"
#include "rpc/server.h"

#define PLUGIN_INTERNAL "io.containerd.internal.v1"
#define PLUGIN_RUNTIME "io.containerd.runtime.v2"
#define PLUGIN_SERVICE "io.containerd.service.v1"
#define PLUGIN_GRPC "io.containerd.grpc.v1"
#define PLUGIN_TTRPC "io.containerd.ttrpc.v1"
#define PLUGIN_SNAPSHOT "io.containerd.snapshotter.v1"
#define PLUGIN_TASK_MONITOR "io.containerd.monitor.task.v1"
#define PLUGIN_CONTAINER_MONITOR "io.containerd.monitor.container.v1"
#define PLUGIN_DIFF "io.containerd.differ.v1"
#define PLUGIN_METADATA "io.containerd.metadata.v1"
#define PLUGIN_CONTENT "io.containerd.content.v1"
#define PLUGIN_GC "io.containerd.gc.v1"
#define PLUGIN_EVENT "io.containerd.event.v1"
#define PLUGIN_LEASE "io.containerd.lease.v1"
#define PLUGIN_STREAMING "io.containerd.streaming.v1"
#define PLUGIN_TRACING_PROCESSOR "io.containerd.tracing.processor.v1"
#define PLUGIN_METRICS "io.containerd.metrics.v1"
#define PLUGIN_NRI "io.containerd.nri.v1"
#define PLUGIN_TRANSFER "io.containerd.transfer.v1"
#define PLUGIN_SANDBOX_STORE "io.containerd.sandbox.store.v1"
#define PLUGIN_POD_SANDBOX "io.containerd.podsandbox.controller.v1"
#define PLUGIN_SANDBOX_CONTROLLER "io.containerd.sandbox.controller.v1"
#define PLUGIN_IMAGE_VERIFIER "io.containerd.image-verifier.v1"
#define PLUGIN_WARNING "io.containerd.warning.v1"
#define PLUGIN_CRI "io.containerd.cri.v1"
#define PLUGIN_SHIM "io.containerd.shim.v1"
#define PLUGIN_HTTP "io.containerd.http.v1"
#define PLUGIN_SERVER "io.containerd.server.v1"
#define PLUGIN_MOUNT_MANAGER "io.containerd.mount-manager.v1"
#define PLUGIN_MOUNT_HANDLER "io.containerd.mount-handler.v1"

typedef struct PluginSet PluginSet;
typedef struct PluginInit PluginInit;

/* Sets *ret_instance (may stay NULL for plugins that only add services) and returns true, or returns false
 * with an error; then close is not called. */
typedef bool (*PluginInitFn)(PluginInit *init, void **ret_instance, GError **error);

/* The configuration as it is now on disk, for a reload function and only while it runs: copy what is kept.
 * Both have passed all checks that the start makes, the schema's validate too. */
typedef struct {
	const TomlValue *view; // the complete section; NULL where the plugin has no declared keys
	const Config *config;  // all of it: config_view, config_timeout
} PluginReload;

typedef struct {
	const char *type, *id;
	const char *const *requires; // types, ended by NULL; NULL: none; "*" alone: all others
	PluginInitFn init;
	/* After every plugin's init, in order; an error ends the daemon's start. NULL: nothing to start. */
	bool (*start)(void *instance, GError **error);
	/* At shutdown, in reverse order of init. May block. NULL: nothing to close. */
	void (*close)(void *instance);
	/* Declared keys of [plugins."<uri>"]; NULL: config_schema(uri). */
	const ConfigSchema *schema;
	void *data; // for init: plugin_data()
	/* SIGHUP: keys below are different now (or the last reload of this plugin failed). Runs on the main
	 * thread while calls are served: it takes the plugin's own locks, and is quick, since signals wait
	 * for it. An error is logged and leaves the plugin as it was; it is tried again with the next SIGHUP.
	 * Only for plugins that came up. NULL: all changes need a restart. */
	bool (*reload)(void *instance, const PluginReload *fresh, GError **error);
	/* Which keys that function applies, ended by NULL: "interval" of the section, a table means all that
	 * is in it ("registry"); and those of the top level ("timeouts.io.containerd.timeout.task.state"). */
	const char *const *reload_keys, *const *reload_top_keys;
} PluginRegistration;

/* ---- for init functions ---- */

const char *plugin_uri(const PluginInit *init);
const char *plugin_id(const PluginInit *init);
void *plugin_data(const PluginInit *init);
/* <root>/<uri> and <state>/<uri>. Not made: the plugin does, with the mode that it needs. */
const char *plugin_root_dir(const PluginInit *init);
const char *plugin_state_dir(const PluginInit *init);
/* Addresses of our own servers, for shims. */
const char *plugin_grpc_address(const PluginInit *init);
const char *plugin_ttrpc_address(const PluginInit *init);
/* The complete view of the plugin's section (conf_string and so on); it lives as long as the set. NULL where
 * the plugin has no declared keys. */
TomlValue *plugin_config(const PluginInit *init);
/* Ids of deprecations that the section uses (io.containerd.deprecation/...). GPtrArray of const char *. */
const GPtrArray *plugin_deprecations(const PluginInit *init);
int64_t plugin_timeout(const PluginInit *init, const char *key); // config_timeout
/* The top-level table, for what is no plugin's own: conf_table(plugin_daemon_config(init),
 * "stream_processors"). */
const TomlValue *plugin_daemon_config(const PluginInit *init);

Loop *plugin_loop(const PluginInit *init);
Pool *plugin_pool(const PluginInit *init);
PluginSet *plugin_set(const PluginInit *init);

/* What introspection shows. The strings are copied. */
void plugin_add_platform(PluginInit *init, const char *platform); // "linux/amd64"
void plugin_add_export(PluginInit *init, const char *key, const char *value);
void plugin_add_capability(PluginInit *init, const char *capability);

/* Services that the servers offer. For plugins of type grpc.v1 and ttrpc.v1; impl_free runs when the servers
 * end, before close. */
enum {
	PLUGIN_ON_GRPC = 1,
	PLUGIN_ON_TTRPC = 2,
	PLUGIN_ON_TCP = 4,
};
void plugin_add_service(PluginInit *init, unsigned where, const RpcService *service);

/* Fails init with upstream's "not configured to load": text `<format>: skip plugin`, or `skip plugin` for
 * NULL. Logged at level info and never fatal unless the plugin is required. Returns false. */
bool plugin_skip(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
bool plugin_error_is_skip(const GError *error);

/* Instances of required plugins. Errors: `no plugins registered for TYPE: plugin: not found`,
 * `multiple plugins registered for TYPE: plugin: multiple instances`, or a copy of the error that the plugin
 * itself had. Skipped plugins are as absent. */
void *plugin_get_single(PluginInit *init, const char *type, GError **error);
void *plugin_get_by_id(PluginInit *init, const char *type, const char *id, GError **error);

/* A plugin must be complete before the daemon says that it is ready: returns a ticket for plugin_ready, which
 * may be called once from any thread. After this the plugin must not fail. */
typedef struct PluginReadiness PluginReadiness;
PluginReadiness *plugin_register_readiness(PluginInit *init);
void plugin_ready(PluginReadiness *ticket);

/* Typed accessors: plugin_get_metadata(init, error) and so on. One for each type whose instance others use;
 * the type named here is what init of such a plugin must give. */
#define PLUGIN_ACCESSOR(name, Type, plugin_type)                                                             \
	typedef struct Type Type;                                                                            \
	static inline Type *plugin_get_##name(PluginInit *init, GError **error)                              \
	{                                                                                                    \
		return plugin_get_single(init, (plugin_type), error);                                        \
	}
PLUGIN_ACCESSOR(metadata, MetaDb, PLUGIN_METADATA)
PLUGIN_ACCESSOR(content, ContentStore, PLUGIN_CONTENT)
PLUGIN_ACCESSOR(events, Exchange, PLUGIN_EVENT)
PLUGIN_ACCESSOR(gc, Gc, PLUGIN_GC)

/* ---- the set ---- */

typedef enum {
	PLUGIN_PENDING, // not initialised yet
	PLUGIN_OK,
	PLUGIN_SKIPPED,
	PLUGIN_FAILED,
	PLUGIN_DISABLED, // by configuration: never initialised, not shown by introspection
} PluginState;

typedef struct {
	const PluginRegistration *registration;
	char *uri;
	PluginState state;
	void *instance;          // where OK
	GError *error;           // where SKIPPED or FAILED
	GPtrArray *platforms;    // char *
	GHashTable *exports;     // strmap
	GPtrArray *capabilities; // char *
} Plugin;

PluginSet *plugins_new(void);
/* After plugins_close. */
void plugins_free(PluginSet *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PluginSet, plugins_free)

/* The registration must outlive the set. Asserts what upstream panics about: no type, no id, a registered
 * uri, a plugin that requires its own type, "*" beside others. */
void plugins_register(PluginSet *set, const PluginRegistration *registration);
/* The plugins in the order of their initialisation, without those that disabled() names. `circular plugin
 * dependency at URI: plugin: dependency loop detected`. GPtrArray of Plugin, borrowed elements; NULL on
 * error. */
GPtrArray *plugins_graph(PluginSet *set, bool (*disabled)(const char *uri, void *data), void *data,
                         GError **error);

/* Makes a plugin of every [proxy_plugins.<name>] of the configuration: id is the name, type that of the kind
 * whose type or alias it gives; platform, exports (with the address) and capabilities are shown as
 * configured; then the kind's init connects. An unknown type is a warning. `TYPE.NAME: plugin: id already
 * registered` where a built-in has the name. */
typedef struct {
	const char *type, *alias; // PLUGIN_SNAPSHOT, "snapshot"
	PluginInitFn init;        // plugin_proxy_address() is where to connect
	void (*close)(void *instance);
} PluginProxyKind;
bool plugins_register_proxies(PluginSet *set, Config *config, const PluginProxyKind *kinds, size_t n_kinds,
                              GError **error);
const char *plugin_proxy_address(const PluginInit *init);
char **plugin_proxy_capabilities(const PluginInit *init); // as configured; a new vector, never NULL
/* Whether the plugin is a proxy's: its instance is of the kind's type, not of the built-in ones'. */
bool plugin_is_proxy(const Plugin *plugin);

typedef struct {
	Config *config;
	Loop *loop;
	Pool *pool;
} PluginEnv; // what it names is borrowed by the set until plugins_close

/* Initialises and starts. Error texts as upstream: `load required plugin URI: ...`, `required plugin [URI
 * ...] not included`, `plugin failed after registering readiness URI: ...`. After an error call plugins_close
 * too. */
bool plugins_init(PluginSet *set, const PluginEnv *env, GError **error);
bool plugins_start(PluginSet *set, GError **error);
/* Waits until all readiness is given; false where cancel ended the wait. */
bool plugins_wait_ready(PluginSet *set, Cancel *cancel, GError **error);
void plugins_close(PluginSet *set);

/* What a reload did, as whole dotted keys (char *). */
typedef struct {
	GPtrArray *applied, *restart, *failed;
} PluginReloadResult;
void plugin_reload_result_clear(PluginReloadResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PluginReloadResult, plugin_reload_result_clear)
/* After plugins_start. Checks all sections of the new configuration (false: one is wrong, and nothing has
 * changed), then calls the reload function of each plugin of which a key differs from old. A top-level key
 * that no plugin names is in restart, but those in own_keys (ended by NULL), which the caller applies itself.
 */
bool plugins_reload(PluginSet *set, Config *old, Config *fresh, const char *const *own_keys,
                    PluginReloadResult *ret, GError **error);

/* In order of initialisation, without the disabled ones: what introspection lists. Borrowed. */
const GPtrArray *plugins_all(const PluginSet *set);
/* NULL where there is none; it may have failed: look at its state. */
const Plugin *plugins_lookup(const PluginSet *set, const char *type, const char *id);
/* Calls fn for each service that was added for one of the servers in `where`, in order of initialisation. */
void plugins_each_service(const PluginSet *set, unsigned where,
                          void (*fn)(const RpcService *service, void *data), void *data);
