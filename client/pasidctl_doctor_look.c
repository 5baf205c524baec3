/* SPDX-License-Identifier: MIT */
/* Where on a host each check finds what it looks at. */
#include "pasidctl_doctor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DAEMON_USER "pasidd"
#define LIBRARY     "libsystemd-shared-" /* and systemd's version */

struct look {
	const struct doctor_host *host;
	struct doctor_report *report;
	enum doctor_iommu iommu;
	size_t units, capable;
	struct doctor_functions functions;
	/* of the function that is being looked at */
	const char *address;
	size_t others, strangers;
	char node[DOCTOR_LINK_MAX];
	struct doctor_user daemon;
};

/* What is not in a copy says nothing about the host: the check is not made, and that is said. */
static bool look_lacks(const struct look *look, const char *folder, const char *name)
{
	if (look->host->live || doctor_there(look->host, folder))
		return false;
	doctor_add(look->report, DOCTOR_UNKNOWN, name, NULL, "%s is not in the copy", folder);
	return true;
}

/* ------------------------------------------------------------ the kernel */

static void look_read_kernel(struct doctor_host *host)
{
	static const char *const places[] = {
		"/boot/config-%s", "/lib/modules/%s/config", "/usr/lib/modules/%s/config"};
	char *release = doctor_read(host, "/proc/sys/kernel/osrelease", NULL);
	char path[DOCTOR_PATH_MAX];

	host->release[0] = '\0';
	host->config = NULL;
	if (release != NULL)
		(void)snprintf(host->release, sizeof(host->release), "%.*s",
			(int)strcspn(release, "\n/"), release);
	free(release);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && host->config == NULL; i++) {
		char *at = path;

		at += snprintf(at, sizeof(path), "%.*s%s",
			(int)(strchr(places[i], '%') - places[i]), places[i], host->release);
		(void)snprintf(
			at, sizeof(path) - (size_t)(at - path), "%s", strchr(places[i], '%') + 2);
		host->config = doctor_read(host, path, NULL);
	}
}

static void look_kernel(struct look *look)
{
	char *command_line = doctor_read(look->host, "/proc/cmdline", NULL);

	doctor_check_kernel(look->report, look->host->release);
	doctor_check_config(look->report, look->host->config);
	doctor_check_command_line(look->report, command_line, look->host->config, look->iommu);
	free(command_line);
}

static void look_modules(struct look *look)
{
	static const struct {
		const char *name, *path[2]; /* where sysfs shows that it is there */
	} modules[] = {
		{"iommufd", {"/sys/class/misc/iommu", "/sys/module/iommufd"}},
		{"vfio", {"/sys/class/vfio-dev", "/sys/module/vfio"}},
		{"vfio_pci", {"/sys/bus/pci/drivers/vfio-pci", "/sys/module/vfio_pci"}},
	};
	char path[DOCTOR_PATH_MAX], *lists[2] = {NULL, NULL};

	if (!doctor_there(look->host, "/sys/class") && look_lacks(look, "/sys/module", "modules"))
		return;
	if (doctor_path(path, "/lib/modules/%s/modules.dep", look->host->release))
		lists[0] = doctor_read(look->host, path, NULL);
	if (doctor_path(path, "/lib/modules/%s/modules.builtin", look->host->release))
		lists[1] = doctor_read(look->host, path, NULL);
	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		const struct doctor_module module = {
			.name = modules[i].name,
			.there = doctor_there(look->host, modules[i].path[0]) ||
				 doctor_there(look->host, modules[i].path[1]),
			.loadable = lists[0],
			.builtin = lists[1],
		};

		doctor_check_module(look->report, &module);
	}
	free(lists[0]);
	free(lists[1]);
}

/* ------------------------------------------------------------ IOMMUs */

static void look_vtd(struct look *look, const char *unit)
{
	char path[DOCTOR_PATH_MAX], *cap = NULL, *ecap = NULL;

	if (doctor_path(path, "/sys/class/iommu/%s/intel-iommu/cap", unit))
		cap = doctor_read(look->host, path, NULL);
	if (doctor_path(path, "/sys/class/iommu/%s/intel-iommu/ecap", unit))
		ecap = doctor_read(look->host, path, NULL);
	look->capable += doctor_check_vtd(look->report, unit, cap, ecap);
	free(cap);
	free(ecap);
}

static void look_unit(void *ctx, const char *name)
{
	struct look *look = ctx;
	enum doctor_iommu kind = doctor_iommu_kind(name);

	look->units++;
	/* What can have PASIDs says what the host is. */
	if (look->iommu == DOCTOR_IOMMU_NONE || kind < look->iommu)
		look->iommu = kind;
	if (kind == DOCTOR_IOMMU_VTD)
		look_vtd(look, name);
	if (kind == DOCTOR_IOMMU_SMMUV3) {
		doctor_check_smmuv3(look->report, name);
		look->capable++;
	}
}

/* ------------------------------------------------------------ functions */

static void look_pci(const struct look *look, const char *address, struct doctor_pci *ret_pci)
{
	char path[DOCTOR_PATH_MAX], *bytes = NULL;
	size_t size = 0;

	if (doctor_path(path, "/sys/bus/pci/devices/%s/config", address))
		bytes = doctor_read(look->host, path, &size);
	doctor_pci_parse((const uint8_t *)bytes, bytes != NULL ? size : 0, ret_pci);
	free(bytes);
}

static bool look_driver_is_vfio(const struct look *look, const char *address)
{
	char path[DOCTOR_PATH_MAX], driver[DOCTOR_LINK_MAX];

	return doctor_path(path, "/sys/bus/pci/devices/%s/driver", address) &&
	       doctor_link(look->host, path, driver) && strcmp(driver, "vfio-pci") == 0;
}

static void look_neighbour(void *ctx, const char *address)
{
	struct look *look = ctx;
	struct doctor_pci pci;

	if (strcmp(address, look->address) == 0)
		return;
	look_pci(look, address, &pci);
	if (pci.bridge)
		return;
	look->others++;
	look->strangers += !look_driver_is_vfio(look, address);
}

static void look_node_name(void *ctx, const char *name)
{
	struct look *look = ctx;

	(void)snprintf(look->node, sizeof(look->node), "%s", name);
}

/* The bridge that is the farthest from the root and passes no prefixes; its address in ret_bridge.
 */
static bool look_path(
	const struct look *look, const char *address, char ret_bridge[static DOCTOR_LINK_MAX])
{
	char path[DOCTOR_PATH_MAX], target[DOCTOR_LINK_MAX], *rest = target, *part;
	bool found = false;

	if (!doctor_path(path, "/sys/bus/pci/devices/%s", address) ||
		!doctor_target(look->host, path, target))
		return false;
	while ((part = strtok_r(NULL == rest ? NULL : rest, "/", &rest)) != NULL) {
		struct doctor_pci pci;

		if (strchr(part, ':') == NULL || strncmp(part, "pci", 3) == 0 ||
			strcmp(part, address) == 0)
			continue;
		look_pci(look, part, &pci);
		if (!pci.readable || !pci.express || pci.prefixes)
			continue;
		(void)snprintf(ret_bridge, DOCTOR_LINK_MAX, "%s", part);
		found = true;
	}
	return found;
}

/* A virtual function has the PASID capability of its physical one, and none of its own. */
static bool look_physical(const struct look *look, const char *address, struct doctor_pci *pci)
{
	char path[DOCTOR_PATH_MAX], physical[DOCTOR_LINK_MAX];
	struct doctor_pci other;

	if (!doctor_path(path, "/sys/bus/pci/devices/%s/physfn", address) ||
		!doctor_link(look->host, path, physical))
		return false;
	look_pci(look, physical, &other);
	pci->pasid = other.pasid;
	pci->pasid_width = other.pasid_width;
	return true;
}

static void look_bound(struct look *look, struct doctor_function function)
{
	char path[DOCTOR_PATH_MAX], group[DOCTOR_LINK_MAX], bridge[DOCTOR_LINK_MAX];

	look->address = function.address;
	look->others = look->strangers = 0;
	look->node[0] = '\0';
	if (doctor_path(path, "/sys/bus/pci/devices/%s/iommu_group", function.address) &&
		doctor_link(look->host, path, group)) {
		function.group = group;
		if (doctor_path(path, "/sys/kernel/iommu_groups/%s/devices", group))
			(void)doctor_each(look->host, path, "", look_neighbour, look);
		function.group_others = look->others;
		function.group_strangers = look->strangers;
	}
	if (doctor_path(path, "/sys/bus/pci/devices/%s/vfio-dev", function.address) &&
		doctor_each(look->host, path, "vfio", look_node_name, look) > 0)
		function.node = look->node;
	if (look_path(look, function.address, bridge))
		function.blocking = bridge;
	look->functions.bound++;
	look->functions.usable += doctor_check_function(look->report, &function);
}

static void look_function(void *ctx, const char *address)
{
	struct look *look = ctx;
	struct doctor_functions *all = &look->functions;
	struct doctor_function function = {.address = address};

	look_pci(look, address, &function.pci);
	function.is_virtual = look_physical(look, address, &function.pci);
	if (look_driver_is_vfio(look, address)) {
		look_bound(look, function);
		return;
	}
	all->unread += !function.pci.readable && !function.pci.bridge;
	if (!function.pci.pasid || function.pci.bridge)
		return;
	if (all->candidates++ == 0)
		(void)snprintf(all->first_candidate, sizeof(all->first_candidate), "%s", address);
}

/* ------------------------------------------------------------ nodes */

static void look_node(void *ctx, const char *name)
{
	struct look *look = ctx;
	char path[DOCTOR_PATH_MAX];
	struct doctor_node node;

	if (!doctor_path(path, "/dev/vfio/devices/%s", name))
		return;
	doctor_stat(look->host, path, &node);
	doctor_check_node(look->report, &node, &look->daemon);
}

static void look_nodes(struct look *look)
{
	char *passwd = doctor_read(look->host, "/etc/passwd", NULL);
	char *group = doctor_read(look->host, "/etc/group", NULL);
	struct doctor_node node;

	/* A host without that user runs the daemon as root. */
	if (!doctor_user(DAEMON_USER, passwd, group, &look->daemon))
		look->daemon = (struct doctor_user){.name = "root"};
	free(passwd);
	free(group);
	if (look_lacks(look, "/dev", "/dev/iommu"))
		return;
	doctor_stat(look->host, "/dev/iommu", &node);
	doctor_check_node(look->report, &node, &look->daemon);
	(void)doctor_each(look->host, "/dev/vfio/devices", "vfio", look_node, look);
	doctor_check_container(
		look->report, doctor_there(look->host, "/dev/vfio/vfio"), look->host->config);
}

/* ------------------------------------------------------------ the rest */

static void look_library(void *ctx, const char *name)
{
	unsigned *version = ctx;
	unsigned long found = strtoul(name + strlen(LIBRARY), NULL, 10);

	if (found > *version && found < 10000)
		*version = (unsigned)found;
}

struct look_systemd {
	const struct doctor_host *host;
	unsigned version;
};

/* /usr/lib/ARCHITECTURE/systemd, as Debian has it. */
static void look_architecture(void *ctx, const char *name)
{
	struct look_systemd *systemd = ctx;
	char path[DOCTOR_PATH_MAX];

	if (strstr(name, "-linux-") != NULL && doctor_path(path, "/usr/lib/%s/systemd", name))
		(void)doctor_each(systemd->host, path, LIBRARY, look_library, &systemd->version);
}

static void look_systemd(const struct look *look)
{
	struct look_systemd systemd = {.host = look->host};

	(void)doctor_each(look->host, "/usr/lib/systemd", LIBRARY, look_library, &systemd.version);
	(void)doctor_each(look->host, "/usr/lib", "", look_architecture, &systemd);
	if (systemd.version == 0 && look_lacks(look, "/run", "systemd"))
		return;
	/* The folder is there on a host that systemd has booted; a copy of a host's files seldom
	 * has it. */
	doctor_check_systemd(look->report, systemd.version,
		doctor_there(look->host, "/run/systemd/system") ||
			(!look->host->live && systemd.version > 0));
}

static void look_security(const struct look *look)
{
	char *lsm = doctor_read(look->host, "/sys/kernel/security/lsm", NULL);
	char *seccomp = doctor_read(look->host, "/proc/sys/kernel/seccomp/actions_avail", NULL);
	int landlock = -1;

	if (look->host->live) {
		landlock = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
		if (landlock < 0)
			landlock = errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -1;
	}
	if (!look_lacks(look, "/proc/sys/kernel/seccomp", "seccomp"))
		doctor_check_seccomp(look->report, seccomp);
	doctor_check_security(look->report, lsm, landlock);
	free(lsm);
	free(seccomp);
}

static enum doctor_probe look_answer(long answer)
{
	if (answer >= 0)
		return DOCTOR_PROBE_THERE;
	return errno == ENOSYS ? DOCTOR_PROBE_MISSING : DOCTOR_PROBE_FORBIDDEN;
}

static void look_probes(const struct look *look)
{
	enum doctor_probe pidfs = DOCTOR_PROBE_NONE, opened;
	pid_t self = getpid();
	struct statfs st;
	long fd;

	if (!look->host->live)
		return;
	fd = syscall(SYS_pidfd_open, self, 0);
	opened = look_answer(fd);
	if (fd >= 0) {
		if (fstatfs((int)fd, &st) == 0)
			pidfs = st.f_type == 0x50494446 ? DOCTOR_PROBE_THERE : DOCTOR_PROBE_MISSING;
		(void)close((int)fd);
	}
	doctor_check_probes(
		look->report, opened, pidfs, look_answer(syscall(SYS_kcmp, self, self, 0, 0, 0)));
}

void doctor_look(struct doctor_host *host, struct doctor_report *report)
{
	struct look look = {.host = host, .report = report};
	char *limits;

	look_read_kernel(host);
	(void)doctor_each(host, "/sys/class/iommu", "", look_unit, &look);
	if (!look_lacks(&look, "/sys/class", "iommu"))
		doctor_check_iommu(report, look.iommu, look.units, look.capable);
	look_kernel(&look);
	look_modules(&look);
	(void)doctor_each(host, "/sys/bus/pci/devices", "", look_function, &look);
	if (!look_lacks(&look, "/sys/bus", "functions"))
		doctor_check_functions(report, &look.functions);
	look_nodes(&look);
	look_probes(&look);
	limits = doctor_read(host, "/proc/self/limits", NULL);
	doctor_check_memlock(report, limits);
	free(limits);
	look_systemd(&look);
	look_security(&look);
	free(host->config);
	host->config = NULL;
}
