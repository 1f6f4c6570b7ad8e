// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "loop/lock.h"
#include "plugin/plugin.h"

typedef struct {
	unsigned where;
	RpcService service; // without impl_free, which is ours to call
	void (*impl_free)(void *impl);
	Plugin *owner;
} OfferedService;

struct PluginSet {
	GPtrArray *registered;     // Plugin, owned, in order of registration
	GPtrArray *ordered;        // Plugin, borrowed, in order of initialisation
	GPtrArray *services;       // OfferedService
	GPtrArray *views;          // TomlValue: the sections that init functions were given
	GPtrArray *tickets;        // PluginReadiness
	GPtrArray *proxies;        // ProxyRegistration
	GHashTable *reload_failed; // set of Plugin: their last reload failed
	PluginEnv env;
	char *grpc_address, *ttrpc_address;
	Lock lock; // guards n_unready
	Cond ready;
	unsigned n_unready;
};

struct PluginInit {
	PluginSet *set;
	Plugin *plugin;
	char *root_dir, *state_dir;
	TomlValue *view;
	GPtrArray *deprecations;
	bool readiness;
};

struct PluginReadiness {
	PluginSet *set;
	bool given;
};
