// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Starting and cleaning up shims by calling their binary (upstream core/runtime/v2/{binary,shim_manager}.go,
 * pkg/shim/util.go): the bootstrap protocol on stdin beside the legacy flags and environment, which older
 * shims read. Functions block; no state.
 */

#include "runtime/bundle.h"
#include "runtime/shim-client.h"

typedef struct {
	const char *grpc_address, *ttrpc_address; // ours, for the shim's events
	const char *socket_dir;                   // NULL: the shim's default
	const char *const *env;                   // further NAME=value pairs, NULL: none
} ShimBinaryConfig;

/* "io.containerd.runc.v2" -> the path of containerd-shim-runc-v2: beside the name's directory, in PATH, or
 * beside our own binary; an absolute path as it is. Texts as upstream: `no runtime name`, `invalid runtime
 * name x, correct runtime name should be ...`, `runtime "x" binary not installed "containerd-shim-x-v1": file
 * does not exist`, `invalid custom binary path: stat ...`; for the names that 2.0 removed a
 * hint follows. Owned by the caller. */
char *shim_binary_resolve(const char *runtime, GError **error);

/* Runs `<binary> -info`, which is asked before there is any container: the packed RuntimeInfo. options: a
 * packed Any of the runtime's options, NULL: none. `failed to run [x -info]: exit status 1 (stderr: "...")`.
 */
GBytes *shim_binary_info(const char *binary, GBytes *options, GError **error);

/* Runs `<binary> ... start` in the bundle and writes shim-binary-path and bootstrap.json there. options may
 * be NULL or unset. */
bool shim_binary_start(const char *binary, const Bundle *bundle, const ShimBinaryConfig *config,
                       Cancel *cancel, const Any *options, ShimAddress *ret, GError **error);
/* Runs `<binary> ... delete` for a shim that is gone, then deletes its socket and the bundle. timeout_ns
 * bounds the call. */
bool shim_binary_delete(const char *binary, const Bundle *bundle, const ShimBinaryConfig *config,
                        int64_t timeout_ns, TaskExit *ret, GError **error);

/* bootstrap.json of a bundle, or what older shims left (`address`). */
bool shim_address_load(const Bundle *bundle, ShimAddress *ret, GError **error);
/* The socket that a shim left when it died; where another one listens under that name, it stays. */
void shim_address_remove_dead(const Bundle *bundle);
/* Writes bootstrap.json. */
bool shim_address_save(const Bundle *bundle, const ShimAddress *address, GError **error);
/* What `start` prints: a BootstrapResult, the JSON of version 3, or a bare address. */
bool shim_address_parse(const char *data, size_t len, ShimAddress *ret, GError **error);
