// SPDX-License-Identifier: Apache-2.0
/* containerd.services.images.v1; upstream plugins/services/images. */
#include "store/images.h"
#include "services/convert.h"
#include "services/images/v1/images.pb-c.h"
#include "services/services.h"

typedef Containerd__Services__Images__V1__Image PbImage;

typedef struct {
	MetaDb *db;
	Gc *gc;
} Impl;

static PbImage *image_out(Arena *arena, const Image *image)
{
	PbImage *out = pb_new(arena, &containerd__services__images__v1__image__descriptor);
	out->name = arena_strdup(arena, image->name);
	out->labels = pb_strmap_out(arena, image->labels,
	                            &containerd__services__images__v1__image__labels_entry__descriptor,
	                            &out->n_labels);
	out->target = pb_descriptor_out(arena, &image->target);
	out->created_at = pb_time_out(arena, image->created_at);
	out->updated_at = pb_time_out(arena, image->updated_at);
	return out;
}

static Image *image_in(const PbImage *in, GError **error)
{
	if (in == NULL || str_empty(in->name)) {
		error_set(error, CTRD_ERR_INVALID_ARGUMENT, "Image.Name required");
		return NULL;
	}
	Image *image = image_new();
	g_free(image->name);
	image->name = g_strdup(in->name);
	g_clear_pointer(&image->labels, g_hash_table_unref);
	image->labels = pb_strmap_in(in->n_labels, in->labels);
	descriptor_clear(&image->target);
	pb_descriptor_in(&image->target, in->target);
	image->created_at = pb_time_in(in->created_at);
	image->updated_at = pb_time_in(in->updated_at);
	return image;
}

static bool images_get_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Images__V1__GetImageRequest *req = request;
	Containerd__Services__Images__V1__GetImageResponse *resp = response;
	Impl *impl = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Image) image = images_get(impl->db, &ctx, req->name, error);
	if (image == NULL)
		return false;
	resp->image = image_out(rpc_call_arena(call), image);
	return true;
}

static bool images_list_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Images__V1__ListImagesRequest *req = request;
	Containerd__Services__Images__V1__ListImagesResponse *resp = response;
	Impl *impl = rpc_call_impl(call);
	Arena *arena = rpc_call_arena(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(GPtrArray) list =
	        images_list(impl->db, &ctx, pb_strv_in(arena, req->n_filters, req->filters), error);
	if (list == NULL)
		return false;
	resp->n_images = list->len;
	resp->images = pb_vec(arena, list->len);
	for (guint i = 0; i < list->len; i++)
		resp->images[i] = image_out(arena, list->pdata[i]);
	return true;
}

static bool images_create_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Images__V1__CreateImageRequest *req = request;
	Containerd__Services__Images__V1__CreateImageResponse *resp = response;
	Impl *impl = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Image) image = image_in(req->image, error);
	if (image == NULL)
		return false;
	g_autoptr(Image) created =
	        images_create(impl->db, &ctx, image, pb_time_in(req->source_date_epoch), error);
	if (created == NULL)
		return false;
	resp->image = image_out(rpc_call_arena(call), created);
	return true;
}

static bool images_update_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Images__V1__UpdateImageRequest *req = request;
	Containerd__Services__Images__V1__UpdateImageResponse *resp = response;
	Impl *impl = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Image) image = image_in(req->image, error);
	if (image == NULL)
		return false;
	g_autoptr(Image) updated =
	        images_update(impl->db, &ctx, image, pb_mask_in(rpc_call_arena(call), req->update_mask),
	                      pb_time_in(req->source_date_epoch), error);
	if (updated == NULL)
		return false;
	resp->image = image_out(rpc_call_arena(call), updated);
	return true;
}

static bool images_delete_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Images__V1__DeleteImageRequest *req = request;
	Impl *impl = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_auto(Descriptor) target = {0};
	pb_descriptor_in(&target, req->target);
	if (!images_delete(impl->db, &ctx, req->name, req->target != NULL ? &target : NULL, error))
		return false;
	return !req->sync || gc_run(impl->gc, &ctx, error);
}

RpcService images_service_new(MetaDb *db, Gc *gc)
{
	static const RpcMethod methods[] = {
	        {"Get", RPC_UNARY, RPC_ON_WORKER, images_get_},
	        {"List", RPC_UNARY, RPC_ON_WORKER, images_list_},
	        {"Create", RPC_UNARY, RPC_ON_WORKER, images_create_},
	        {"Update", RPC_UNARY, RPC_ON_WORKER, images_update_},
	        {"Delete", RPC_UNARY, RPC_ON_WORKER, images_delete_},
	};
	Impl *impl = g_new0(Impl, 1);
	*impl = (Impl){db, gc};
	return (RpcService){
	        .descriptor = &containerd__services__images__v1__images__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = impl,
	        .impl_free = g_free,
	};
}
