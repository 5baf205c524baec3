/* SPDX-License-Identifier: MIT */
/* `struct calls` over the simulation: descriptors resolved, faults applied, locks taken in order.
 */
#include "../fd.h"
#include "sim_memory.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A call under way, from where the caller may start until gate_leave(). */
struct gate {
	struct sim *sim;
	bool unit_locked, locked;
	uint32_t unit;
	uint32_t node;    /* calls on a device */
	uint32_t context; /* calls on an iommufd */
};

static void gate_leave(struct gate *gate)
{
	if (gate->locked)
		sim_unlock(gate->sim);
	if (gate->unit_locked)
		sim_unit_unlock(gate->sim, gate->unit);
}
#define GATE __attribute__((cleanup(gate_leave))) struct gate

static int gate_lock(struct gate *gate)
{
	int r = sim_lock(gate->sim);

	gate->locked = r == 0;
	return r;
}

static void gate_unlock(struct gate *gate)
{
	sim_unlock(gate->sim);
	gate->locked = false;
}

/* With the global lock held: what the faults say, then the locks in order. The global one is given
   up meanwhile; `node` NULL: the call names no device. On failure nothing is to be done. */
static int gate_pass(struct gate *gate, enum sim_call call, const struct sim_node *node)
{
	struct sim_fate fate = sim_fault_fate(gate->sim, call, node);
	int r;

	if (fate.latency_us == 0 && fate.error == 0 && !node)
		return 0;
	gate_unlock(gate);
	sim_sleep_us(fate.latency_us);
	if (node) {
		r = sim_unit_lock(gate->sim, node->config.unit, true);
		if (r < 0)
			return r;
		gate->unit = node->config.unit;
		gate->unit_locked = true;
		sim_fault_hang(gate->sim, &fate);
	}
	return fate.error < 0 ? fate.error : gate_lock(gate);
}

static int gate_enter(struct gate *gate)
{
	int r = gate_lock(gate);

	if (r == 0)
		sim_reap_locked(gate->sim);
	return r;
}

static int gate_device(struct gate *gate, enum sim_call call, int device)
{
	int r = gate_enter(gate);

	if (r == 0)
		r = sim_fd_node(gate->sim, device, &gate->node);
	if (r == 0)
		r = gate_pass(gate, call, &gate->sim->header->nodes[gate->node]);
	return r;
}

static int gate_iommufd(struct gate *gate, enum sim_call call, int iommufd)
{
	int r = gate_enter(gate);

	if (r == 0)
		r = sim_fd_context(gate->sim, iommufd, &gate->context);
	if (r == 0)
		r = gate_pass(gate, call, NULL);
	return r;
}

/* A call on an iommufd that names a device by its id. -ENOENT: there is no such device. */
static int gate_dev_id(struct gate *gate, enum sim_call call, int iommufd, uint32_t dev_id)
{
	struct sim_object *object;
	int r = gate_enter(gate);

	if (r == 0)
		r = sim_fd_context(gate->sim, iommufd, &gate->context);
	if (r < 0)
		return r;
	object = sim_object_find(gate->sim, gate->context, dev_id);
	if (!object || object->type != OBJECT_DEVICE)
		return -ENOENT;
	gate->node = object->device;
	return gate_pass(gate, call, &gate->sim->header->nodes[gate->node]);
}

static int call_check_iommufd(void *ctx, int fd, struct error *ret_error)
{
	static const char expected[] = "an iommufd (the simulation's DIR/iommu)";
	struct sim *sim = ctx;
	uint32_t node;

	if (sim_fd_is_iommu(sim, fd) == 0)
		return fd_check_access(fd, expected, ret_error);
	return fd_refuse(fd, expected, sim_fd_node(sim, fd, &node) == 0 ? ": it is a device" : "",
		ret_error);
}

static int call_check_device(
	void *ctx, int fd, struct calls_node *ret_node, struct error *ret_error)
{
	static const char expected[] = "a VFIO device (the simulation's DIR/devices)";
	struct sim *sim = ctx;
	uint32_t node;

	if (sim_fd_node(sim, fd, &node) < 0)
		return fd_refuse(fd, expected,
			sim_fd_is_iommu(sim, fd) == 0 ? ": it is an iommufd" : "", ret_error);
	ret_node->rid = sim->header->nodes[node].config.rid;
	ret_node->group = sim->header->groups[sim->header->nodes[node].group].number;
	return fd_check_access(fd, expected, ret_error);
}

static int call_check_memory(void *ctx, int fd, const struct hw_op *op, struct error *ret_error)
{
	(void)ctx;
	return fd_check_memory(
		fd, op->offset, op->length, (op->map_flags & HW_MAP_WRITE) != 0, ret_error);
}

static int call_same_file(void *ctx, int a, int b)
{
	GATE gate = {.sim = ctx};
	int r = gate_lock(&gate);

	return r < 0 ? r : sim_fd_same(a, b);
}

static int call_open_iommufd(void *ctx, int *ret_fd)
{
	struct sim *sim = ctx;
	GATE gate = {.sim = sim};
	int r = gate_enter(&gate);

	if (r == 0)
		r = gate_pass(&gate, SIM_CALL_OPEN_IOMMUFD, NULL);
	return r < 0 ? r : sim_node_open(sim, SIM_NODE_IOMMU, ret_fd);
}

static int call_open_device(void *ctx, struct rid rid, int *ret_fd)
{
	struct sim *sim = ctx;
	GATE gate = {.sim = sim};
	int r = gate_enter(&gate);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < sim->header->config.device_count; i++) {
		if (sim->header->nodes[i].config.rid.v != rid.v)
			continue;
		r = gate_pass(&gate, SIM_CALL_OPEN_DEVICE, &sim->header->nodes[i]);
		if (r == 0 && sim->header->nodes[i].going)
			r = -ENODEV;
		return r < 0 ? r : sim_node_open(sim, i, ret_fd);
	}
	return -ENOENT;
}

static int call_bind(void *ctx, int device, int iommufd, uint32_t *ret_dev_id)
{
	struct sim *sim = ctx;
	GATE gate = {.sim = sim};
	uint32_t context;
	int r = gate_device(&gate, SIM_CALL_BIND, device);

	if (r < 0)
		return r;
	r = sim_fd_is_iommu(sim, iommufd);
	if (r < 0)
		return r == -ENOTTY ? -EBADFD : r;
	if (sim->header->nodes[gate.node].going)
		return -ENODEV;
	if (sim->header->nodes[gate.node].bound)
		return -EINVAL; /* trap 10: opening twice is fine, binding twice is not */
	r = sim_fd_context(sim, iommufd, &context);
	if (r == 0)
		r = sim_fd_bind(device);
	if (r < 0)
		return r;
	r = sim_bind(sim, gate.node, context, ret_dev_id);
	if (r < 0)
		sim_fd_unbind(device);
	return r;
}

static int call_hw_info(void *ctx, int iommufd, uint32_t dev_id, struct calls_info *ret_info)
{
	struct sim *sim = ctx;
	GATE gate = {.sim = sim};
	int r = gate_dev_id(&gate, SIM_CALL_HW_INFO, iommufd, dev_id);

	if (r < 0)
		return r;
	if (sim->header->config.smmuv3) {
		*ret_info = (struct calls_info){
			.type = HW_IOMMU_SMMUV3,
			.max_pasid_log2 = sim->header->nodes[gate.node].width,
		};
		memcpy(ret_info->raw, sim->header->idr, sizeof(ret_info->raw));
		return 0;
	}
	*ret_info = (struct calls_info){
		.type = HW_IOMMU_VTD,
		.max_pasid_log2 = sim->header->nodes[gate.node].width,
		.raw = {sim->header->cap, sim->header->ecap},
	};
	return 0;
}

static int call_ioas_alloc(void *ctx, int iommufd, uint32_t *ret_ioas)
{
	const struct sim_object ioas = {.type = OBJECT_IOAS};
	GATE gate = {.sim = ctx};
	int r = gate_iommufd(&gate, SIM_CALL_IOAS_ALLOC, iommufd);

	return r < 0 ? r : sim_object_add(gate.sim, gate.context, &ioas, ret_ioas);
}

static int call_map_file(void *ctx, int iommufd, uint32_t ioas, int memfd, uint64_t offset,
	uint64_t length, uint64_t iova, uint32_t map_flags)
{
	GATE gate = {.sim = ctx};
	int r = gate_iommufd(&gate, SIM_CALL_MAP, iommufd);

	return r < 0 ? r
		     : sim_map_memfd(gate.sim, gate.context, ioas, memfd, offset, length, iova,
			       map_flags);
}

int sim_map_anonymous(struct sim *sim, int iommufd, uint32_t ioas, uint64_t length, uint64_t iova,
	uint32_t map_flags)
{
	GATE gate = {.sim = sim};
	int r = gate_iommufd(&gate, SIM_CALL_MAP, iommufd);

	return r < 0 ? r : sim_map_nothing(sim, gate.context, ioas, length, iova, map_flags);
}

static int call_unmap(void *ctx, int iommufd, uint32_t ioas, uint64_t iova, uint64_t length)
{
	GATE gate = {.sim = ctx};
	int r = gate_iommufd(&gate, SIM_CALL_UNMAP, iommufd);

	return r < 0 ? r : sim_unmap(gate.sim, gate.context, ioas, iova, length);
}

static int call_hwpt_alloc(
	void *ctx, int iommufd, const struct calls_hwpt *hwpt, uint32_t *ret_hwpt)
{
	GATE gate = {.sim = ctx};
	int r = gate_dev_id(&gate, SIM_CALL_HWPT_ALLOC, iommufd, hwpt->dev_id);

	return r < 0 ? r : sim_hwpt_alloc(gate.sim, gate.context, hwpt, ret_hwpt);
}

static int call_viommu_alloc(
	void *ctx, int iommufd, uint32_t type, uint32_t dev_id, uint32_t hwpt, uint32_t *ret_viommu)
{
	GATE gate = {.sim = ctx};
	int r = gate_dev_id(&gate, SIM_CALL_VIOMMU_ALLOC, iommufd, dev_id);

	return r < 0 ? r
		     : sim_viommu_alloc(gate.sim, gate.context, gate.node, type, hwpt, ret_viommu);
}

static int call_vdevice_alloc(void *ctx, int iommufd, uint32_t viommu, uint32_t dev_id,
	uint64_t virt_id, uint32_t *ret_vdevice)
{
	GATE gate = {.sim = ctx};
	int r = gate_dev_id(&gate, SIM_CALL_VDEVICE_ALLOC, iommufd, dev_id);

	return r < 0 ? r
		     : sim_vdevice_alloc(
			       gate.sim, gate.context, gate.node, viommu, virt_id, ret_vdevice);
}

/* VFIO takes these on the open file only that was bound. */
static int gate_bound(struct gate *gate, int device)
{
	if (!gate->sim->header->nodes[gate->node].bound ||
		!sim_fd_owns(gate->sim, device, gate->node))
		return -EINVAL;
	return 0;
}

static bool gate_is_ioas(const struct gate *gate, uint32_t id)
{
	const struct sim_object *object =
		sim_object_find(gate->sim, gate->sim->header->nodes[gate->node].bound - 1, id);

	return object && object->type == OBJECT_IOAS;
}

static int call_attach(void *ctx, int device, uint32_t pt_id, const struct hpasid *pasid)
{
	GATE gate = {.sim = ctx};
	int r = gate_device(&gate, pasid ? SIM_CALL_ATTACH : SIM_CALL_ATTACH_RID, device);

	if (r == 0)
		r = gate_bound(&gate, device);
	if (r == 0)
		r = sim_attach(gate.sim, gate.node, pt_id, pasid);
	if (r < 0 || !gate_is_ioas(&gate, pt_id))
		return r;
	/* The kernel chose a table itself: what iommufd.c does with that. */
	r = sim_detach(gate.sim, gate.node, pasid);
	return r < 0 ? r : -EINVAL;
}

static int call_detach(void *ctx, int device, const struct hpasid *pasid)
{
	GATE gate = {.sim = ctx};
	int r = gate_device(&gate, pasid ? SIM_CALL_DETACH : SIM_CALL_DETACH_RID, device);

	if (r == 0)
		r = gate_bound(&gate, device);
	return r < 0 ? r : sim_detach(gate.sim, gate.node, pasid);
}

static int call_watch_removal(void *ctx, int device, int *ret_fd)
{
	GATE gate = {.sim = ctx};
	int r = gate_device(&gate, SIM_CALL_WATCH, device);

	if (r == 0)
		r = gate_bound(&gate, device);
	return r < 0 ? r : sim_watch_removal(gate.sim, gate.node, ret_fd);
}

static int call_destroy(void *ctx, int iommufd, uint32_t id)
{
	GATE gate = {.sim = ctx};
	int r = gate_iommufd(&gate, SIM_CALL_DESTROY, iommufd);

	return r < 0 ? r : sim_object_destroy(gate.sim, gate.context, id);
}

/* The last close of a bound device does its release, and hangs where that hangs. */
static void call_close(void *ctx, int fd)
{
	struct sim *sim = ctx;
	GATE gate = {.sim = sim};
	bool device = sim_fd_node(sim, fd, &gate.node) == 0;

	(void)close(fd);
	if (gate_lock(&gate) < 0)
		return;
	if (device && sim->header->nodes[gate.node].bound && !sim_node_held(sim, gate.node) &&
		gate_pass(&gate, SIM_CALL_CLOSE, &sim->header->nodes[gate.node]) == 0 &&
		sim->header->nodes[gate.node].bound && !sim_node_held(sim, gate.node))
		sim_release(sim, gate.node);
	if (gate.locked)
		sim_reap_locked(sim);
}

static const struct calls sim_calls_table = {
	.check_iommufd = call_check_iommufd,
	.check_device = call_check_device,
	.check_memory = call_check_memory,
	.same_file = call_same_file,
	.open_iommufd = call_open_iommufd,
	.open_device = call_open_device,
	.bind = call_bind,
	.hw_info = call_hw_info,
	.ioas_alloc = call_ioas_alloc,
	.map_file = call_map_file,
	.unmap = call_unmap,
	.viommu_alloc = call_viommu_alloc,
	.vdevice_alloc = call_vdevice_alloc,
	.hwpt_alloc = call_hwpt_alloc,
	.attach = call_attach,
	.detach = call_detach,
	.destroy = call_destroy,
	.watch_removal = call_watch_removal,
	.close = call_close,
};

const struct calls *sim_calls(struct sim *sim)
{
	(void)sim;
	return &sim_calls_table;
}
