// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The action `start`: what a daemon says (BootstrapParams on stdin since 2.3, flags and environment before),
 * the socket, the server process, the answer. Upstream: manager/manager_linux.go,
 * pkg/shim/{shim,compat,shim_unix}.go.
 */

#include "shim/args.h"
#include "shim/options.h"
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the answer is written. */
typedef enum {
	BOOTSTRAP_PROTOBUF, // BootstrapResult, version 3: the request was BootstrapParams
	BOOTSTRAP_JSON,     // {"version":2,...}: daemons 1.7 to 2.2, which say MAX_SHIM_VERSION=2
	BOOTSTRAP_ADDRESS,  // the address alone: 1.6
} BootstrapForm;

typedef struct {
	BootstrapForm form;
	char *id, *ns, *grpc_address, *ttrpc_address, *binary, *socket_dir; // socket_dir NULL: the default
	bool debug;
	bool options_given;
	RuncOptions options;
} Bootstrap;

void bootstrap_clear(Bootstrap *b);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Bootstrap, bootstrap_clear)

/* input: all of stdin. env as getenv. A legacy daemon sends the runtime options' Any, or nothing; as bytes
 * that is a valid BootstrapParams too, so what decides is whether the fields that every daemon of 2.3 fills
 * are there. */
bool bootstrap_parse(const Args *args, const void *input, size_t len, const char *(*env)(const char *name),
                     Bootstrap *ret, GError **error);
/* unix://<dir>/<sha256 of grpc address, namespace, group>. Owned by the caller. */
char *bootstrap_address(const Bootstrap *b, const char *group);
/* The answer's bytes. */
GBytes *bootstrap_answer(BootstrapForm form, const char *address);
/* Of a bundle's config.json: the pod that the container belongs to, else id, also where there is no such
 * file. Owned by the caller; NULL and an error where it cannot be read. */
char *bootstrap_group(const char *config_path, const char *id, GError **error);

/* The whole action: writes the answer to stdout. */
bool bootstrap_start(const Args *args, GError **error);
