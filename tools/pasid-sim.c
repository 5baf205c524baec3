/* SPDX-License-Identifier: MIT */
/* pasid-sim: makes a simulated IOMMU, shows its tables, and breaks it on purpose. */
#include "pasid-sim_kernel.h"
#include "pasid-sim_smmuv3.h"
#include "pasid-sim_words.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char help[] =
	"Usage: pasid-sim DIR COMMAND [ARGUMENTS]\n"
	"\n"
	"Makes a simulated IOMMU in DIR, shows the tables that stand in it, and breaks it on purpose.\n"
	"It may be used while a daemon and VMMs work on the same DIR.\n"
	"\n"
	"  create --device RID[,width=N][,group=G][,unit=U] ...\n"
	"         [--iommu vtd|smmuv3] [--iommu-width N] [--no-nesting] [--latency US] [--pages N]\n"
	"         [--no-first-stage] [--five-level] [--linear]\n"
	"                               makes the simulation; width 20 and a group of its own are\n"
	"                               the defaults of a device. VT-d: no first stage, 57 bits;\n"
	"                               SMMUv3: a stream table of one level\n"
	"  tables [--json]              all PASID table entries that are present; SMMUv3: stream\n"
	"                               table entries (as PASID 0), context descriptors of the host\n"
	"  walk RID [PASID] ADDRESS [--write] [--json | --kernel-line]\n"
	"                               what a DMA to ADDRESS would reach; without PASID, one of the\n"
	"                               function itself. --kernel-line: only what the kernel's log\n"
	"                               would say of it, for pasidctl explain\n"
	"  fail CALL ERROR [--rid RID] [--skip K] [--times N]\n"
	"                               makes a call fail, with an error by name or number; by\n"
	"                               default once; --times 0: always. Calls: any, open-iommufd,\n"
	"                               open-device, bind, hw-info, ioas-alloc, map, unmap,\n"
	"                               hwpt-alloc, viommu-alloc, vdevice-alloc, attach,\n"
	"                               attach-rid, detach, detach-rid, destroy\n"
	"  hang RID MS [--unit] [--call CALL] [--skip K] [--times N]\n"
	"                               the next call on the device sleeps in the kernel, and all\n"
	"                               of its IOMMU unit behind it; --unit: on any device of it\n"
	"  reset RID MS                 a reset: entries parked, attaches refused meanwhile\n"
	"  unplug RID [--wait MS]       asks who has the function open to let go of it, waits (10000)\n"
	"                               until nobody has, and takes it away\n"
	"  plug RID                     puts it back\n"
	"  latency US [--call CALL]     every call takes that much longer\n"
	"  clear                        ends all of these\n"
	"  -h, --help                   shows this\n"
	"\n"
	"Numbers may be hexadecimal (0x...). RID: 0000:00:01.0 or 00:01.0.\n"
	"\n"
	"Examples:\n"
	"  pasid-sim /run/sim create --device 00:01.0 --device 00:02.0,width=8\n"
	"  pasid-sim /run/sim tables\n"
	"  pasid-sim /run/sim walk 00:01.0 1024 0x10000000\n"
	"  pasid-sim /run/sim walk 00:01.0 1024 0x10000000 --kernel-line | pasidctl explain\n"
	"  pasid-sim /run/sim fail attach EIO --rid 00:02.0\n"
	"  pasid-sim /run/sim hang 00:01.0 5000\n"
	"  pasid-sim /run/sim unplug 00:01.0\n"
	"\n"
	"Exit status: 0 done (walk: the DMA gets through), 1 it failed, 2 wrong usage,\n"
	"3 walk: the DMA is blocked.\n";

enum long_option {
	OPTION_JSON = 256,
	OPTION_WRITE,
	OPTION_RID,
	OPTION_SKIP,
	OPTION_TIMES,
	OPTION_UNIT,
	OPTION_CALL,
	OPTION_DEVICE,
	OPTION_NO_NESTING,
	OPTION_NO_FIRST_STAGE,
	OPTION_FIVE_LEVEL,
	OPTION_IOMMU,
	OPTION_LINEAR,
	OPTION_IOMMU_WIDTH,
	OPTION_LATENCY,
	OPTION_PAGES,
	OPTION_WAIT,
	OPTION_KERNEL_LINE,
};

static const struct option long_options[] = {
	{"help", no_argument, NULL, 'h'},
	{"json", no_argument, NULL, OPTION_JSON},
	{"write", no_argument, NULL, OPTION_WRITE},
	{"rid", required_argument, NULL, OPTION_RID},
	{"skip", required_argument, NULL, OPTION_SKIP},
	{"times", required_argument, NULL, OPTION_TIMES},
	{"unit", no_argument, NULL, OPTION_UNIT},
	{"call", required_argument, NULL, OPTION_CALL},
	{"device", required_argument, NULL, OPTION_DEVICE},
	{"no-nesting", no_argument, NULL, OPTION_NO_NESTING},
	{"no-first-stage", no_argument, NULL, OPTION_NO_FIRST_STAGE},
	{"five-level", no_argument, NULL, OPTION_FIVE_LEVEL},
	{"iommu", required_argument, NULL, OPTION_IOMMU},
	{"linear", no_argument, NULL, OPTION_LINEAR},
	{"iommu-width", required_argument, NULL, OPTION_IOMMU_WIDTH},
	{"latency", required_argument, NULL, OPTION_LATENCY},
	{"pages", required_argument, NULL, OPTION_PAGES},
	{"wait", required_argument, NULL, OPTION_WAIT},
	{"kernel-line", no_argument, NULL, OPTION_KERNEL_LINE},
	{0},
};

struct arguments {
	const char *dir, *command;
	char **words; /* what follows the command */
	int count;
	bool json, write, kernel_line;
	struct sim_fault fault; /* --rid, --skip, --times, --unit, --call */
	bool has_times;
	uint32_t wait_ms; /* --wait */
	struct sim_config config;
	bool creates; /* an option that only create takes was given */
};

/* One "key=value" of a device. */
static int device_field(char *field, struct sim_device_config *device)
{
	char *value = strchr(field, '=');

	if (!value)
		return usage("'%s' is not like width=20", field);
	*value++ = '\0';
	if (strcmp(field, "width") == 0)
		return number32_parse("width", value, PASID_BITS, &device->pasid_width);
	if (strcmp(field, "group") == 0)
		return number32_parse("group", value, UINT32_MAX, &device->group);
	if (strcmp(field, "unit") == 0)
		return number32_parse("unit", value, SIM_UNITS_MAX - 1, &device->unit);
	return usage("a device has width, group and unit, no '%s'", field);
}

/* RID[,width=N][,group=G][,unit=U]; cuts the text up. */
static int device_parse(char *text, struct sim_config *config)
{
	struct sim_device_config device = {.pasid_width = PASID_BITS};
	char *rest = NULL, *field = strtok_r(text, ",", &rest);
	int r;

	if (config->device_count == SIM_DEVICES_MAX)
		return usage("at most %d devices", SIM_DEVICES_MAX);
	r = rid_parse(field ? field : "", &device.rid);
	while (r == 0 && (field = strtok_r(NULL, ",", &rest)))
		r = device_field(field, &device);
	if (r == 0)
		config->devices[config->device_count++] = device;
	return r;
}

static int option_create(struct arguments *args, int option)
{
	struct sim_config *config = &args->config;

	args->creates = true;
	switch (option) {
	case OPTION_DEVICE:
		return device_parse(optarg, config);
	case OPTION_NO_NESTING:
		config->nesting = false;
		return 0;
	case OPTION_NO_FIRST_STAGE:
		config->first_stage = false;
		return 0;
	case OPTION_FIVE_LEVEL:
		config->five_level = true;
		return 0;
	case OPTION_IOMMU:
		config->smmuv3 = strcmp(optarg, "smmuv3") == 0;
		return config->smmuv3 || strcmp(optarg, "vtd") == 0
			       ? 0
			       : usage("there are vtd and smmuv3, no IOMMU '%s'", optarg);
	case OPTION_LINEAR:
		config->linear = true;
		return 0;
	case OPTION_IOMMU_WIDTH:
		return number32_parse("width", optarg, PASID_BITS, &config->iommu_width);
	case OPTION_LATENCY:
		return number32_parse("latency", optarg, 60000000, &config->latency_us);
	case OPTION_PAGES:
		return number32_parse("pages", optarg, 1u << 24, &config->pages);
	default:
		return usage("wrong option");
	}
}

static int option_take(struct arguments *args, int option)
{
	switch (option) {
	case OPTION_JSON:
		args->json = true;
		return 0;
	case OPTION_WRITE:
		args->write = true;
		return 0;
	case OPTION_KERNEL_LINE:
		args->kernel_line = true;
		return 0;
	case OPTION_RID:
		args->fault.has_rid = true;
		return rid_parse(optarg, &args->fault.rid);
	case OPTION_SKIP:
		return number32_parse("skip", optarg, UINT32_MAX, &args->fault.skip);
	case OPTION_TIMES:
		args->has_times = true;
		return number32_parse("times", optarg, UINT32_MAX, &args->fault.times);
	case OPTION_WAIT:
		return number32_parse("wait", optarg, 600000, &args->wait_ms);
	case OPTION_UNIT:
		args->fault.unit = true;
		return 0;
	case OPTION_CALL:
		return call_parse(optarg, &args->fault.call);
	default:
		return option_create(args, option);
	}
}

static int json_print(json_t *json)
{
	int r = json ? json_dumpf(json, stdout, JSON_INDENT(2)) : -1;

	json_decref(json);
	(void)putchar('\n');
	return r < 0 ? failed("cannot write JSON", -ENOMEM) : EXIT_SUCCESS;
}

static json_t *entry_json(const struct sim_entry *at)
{
	const struct vtd_entry *entry = &at->at.entry;
	char rid[SIM_RID_TEXT];

	if (at->is_smmuv3)
		return smmuv3_entry_json(at);
	sim_rid_format(at->rid, rid);
	return json_pack("{s:s, s:i, s:i, s:i, s:s, s:i, s:i, s:b, s:o, s:o}", "rid", rid, "group",
		(int)at->group, "unit", (int)at->unit, "pasid", (int)at->at.pasid, "type",
		vtd_pgtt_text(entry->pgtt), "domain", (int)entry->did, "first_levels",
		4 + (int)entry->fspm, "supervisor", (int)entry->supervisor, "first",
		json_hex(entry->first), "second", json_hex(entry->second));
}

static int command_tables(struct sim *sim, const struct arguments *args)
{
	json_t *list = args->json ? json_array() : NULL;
	struct sim_entries entries;
	struct sim_entry at;
	char rid[SIM_RID_TEXT];
	int r = sim_entries_init(&entries, sim);

	if (!args->json && sim_is_smmuv3(sim))
		smmuv3_title_print();
	else if (!args->json)
		(void)printf("%-13s %5s %4s %7s  %-12s %6s  %-18s %s\n", "DEVICE", "GROUP", "UNIT",
			"PASID", "TYPE", "DOMAIN", "FIRST STAGE", "SECOND STAGE");
	while (r >= 0 && (r = sim_entries_next(&entries, &at)) > 0) {
		if (args->json) {
			(void)json_array_append_new(list, entry_json(&at));
			continue;
		}
		if (at.is_smmuv3) {
			smmuv3_entry_print(&at);
			continue;
		}
		sim_rid_format(at.rid, rid);
		(void)printf("%-13s %5u %4u %7u  %-12s %6u  0x%-16" PRIx64 " 0x%" PRIx64 "\n", rid,
			at.group, at.unit, at.at.pasid, vtd_pgtt_text(at.at.entry.pgtt),
			at.at.entry.did, at.at.entry.first, at.at.entry.second);
	}
	if (r < 0) {
		json_decref(list);
		return failed("cannot read the tables", r);
	}
	return args->json ? json_print(list) : EXIT_SUCCESS;
}

static const char *step_text(const struct vtd_step *step)
{
	switch ((enum vtd_step_kind)step->kind) {
	case VTD_STEP_ROOT:
		return "root";
	case VTD_STEP_CONTEXT:
		return "context";
	case VTD_STEP_DIRECTORY:
		return "directory";
	case VTD_STEP_ENTRY:
		return "entry";
	case VTD_STEP_FIRST:
		return "first-stage";
	case VTD_STEP_SECOND:
		return "second-stage";
	}
	return "unknown";
}

static json_t *vtd_walk_json(const struct sim_walk_result *walk)
{
	json_t *steps = json_array(), *json;

	for (uint32_t i = 0; i < walk->vtd.step_count; i++) {
		const struct vtd_step *step = &walk->vtd.steps[i];

		(void)json_array_append_new(
			steps, json_pack("{s:s, s:i, s:o, s:o}", "kind", step_text(step), "level",
				       (int)step->level, "address", json_hex(step->phys), "word",
				       json_hex(step->word)));
	}
	json = json_pack("{s:s, s:i, s:o}", "result", vtd_stop_text(walk->vtd.stop), "pasid",
		(int)walk->vtd.pasid, "steps", steps);
	if (json && walk->vtd.stop == VTD_REACHED) {
		(void)json_object_set_new(json, "physical", json_hex(walk->vtd.phys));
		(void)json_object_set_new(
			json, "page_size", json_integer((json_int_t)walk->vtd.page_size));
		(void)json_object_set_new(json, "writeable", json_boolean(walk->vtd.writeable));
	}
	return json;
}

static int walk_print_json(const struct sim_walk_result *walk)
{
	json_t *json = walk->is_smmuv3 ? smmuv3_walk_json(&walk->smmuv3) : vtd_walk_json(walk);

	if (json && walk->has_file) {
		(void)json_object_set_new(json, "inode", json_integer((json_int_t)walk->ino));
		(void)json_object_set_new(json, "anonymous", json_boolean(walk->dev == 0));
		(void)json_object_set_new(json, "offset", json_hex(walk->offset));
	}
	return json_print(json);
}

static void vtd_walk_print(const struct sim_walk_result *walk)
{
	for (uint32_t i = 0; i < walk->vtd.step_count; i++) {
		const struct vtd_step *step = &walk->vtd.steps[i];
		char level[16] = "";

		if (step->level)
			(void)snprintf(level, sizeof(level), " %u", step->level);
		(void)printf("  %s%-*s at 0x%-16" PRIx64 " is 0x%" PRIx64 "\n", step_text(step),
			(int)(16 - strlen(step_text(step))), level, step->phys, step->word);
	}
	if (walk->vtd.stop != VTD_REACHED)
		(void)printf("blocked: %s (%s)\n", vtd_stop_sentence(walk->vtd.stop),
			vtd_stop_text(walk->vtd.stop));
	else
		(void)printf("reached: 0x%" PRIx64 ", %s\n", walk->vtd.phys,
			walk->vtd.writeable ? "writeable" : "read-only");
}

static void walk_print(const struct sim_walk_result *walk)
{
	if (walk->is_smmuv3)
		smmuv3_walk_print(&walk->smmuv3);
	else
		vtd_walk_print(walk);
	if (walk->has_file)
		(void)printf("  %s %" PRIu64 ", offset 0x%" PRIx64 "\n",
			walk->dev == 0 ? "anonymous memory" : "memfd, inode", walk->ino,
			walk->offset);
}

static int command_walk(struct sim *sim, const struct arguments *args)
{
	struct sim_walk_result walk;
	struct hpasid pasid = {0};
	struct rid rid;
	uint64_t address = 0;
	int r;

	if (args->count < 2 || args->count > 3)
		return usage("walk wants RID [PASID] ADDRESS");
	r = rid_parse(args->words[0], &rid);
	if (r == 0 && args->count == 3)
		r = number32_parse("PASID", args->words[1], PASID_LAST, &pasid.v);
	if (r == 0)
		r = number_parse("address", args->words[args->count - 1], UINT64_MAX, &address);
	if (r != 0)
		return r;
	r = sim_walk(sim, rid, args->count == 3 ? &pasid : NULL, address, args->write, &walk);
	if (r < 0)
		return failed(args->words[0], r);
	if (args->kernel_line)
		kernel_lines_print(
			rid, args->count == 3 ? &pasid : NULL, address, args->write, &walk);
	else if (!args->json)
		walk_print(&walk);
	else if (walk_print_json(&walk) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	return sim_walk_reached(&walk) ? EXIT_SUCCESS : EXIT_BLOCKED;
}

static int fault_add(struct sim *sim, const struct sim_fault *fault)
{
	int r = sim_fault_add(sim, fault);

	if (r == -EINVAL)
		return usage("that call cannot do this");
	return r < 0 ? failed("cannot arm it", r) : EXIT_SUCCESS;
}

static int command_fail(struct sim *sim, const struct arguments *args)
{
	struct sim_fault fault = args->fault;
	int r;

	if (args->count != 2)
		return usage("fail wants CALL ERROR");
	fault.kind = SIM_FAULT_FAIL;
	if (!args->has_times)
		fault.times = 1;
	r = call_parse(args->words[0], &fault.call);
	if (r == 0)
		r = error_parse(args->words[1], &fault.error);
	return r != 0 ? r : fault_add(sim, &fault);
}

/* RID MS, for a hang and a reset. */
static int timed(struct sim *sim, const struct arguments *args, enum sim_fault_kind kind)
{
	struct sim_fault fault = args->fault;
	int r;

	if (args->count != 2)
		return usage("%s wants RID MS", args->command);
	fault.kind = (uint32_t)kind;
	fault.has_rid = true;
	if (!args->has_times)
		fault.times = 1;
	r = rid_parse(args->words[0], &fault.rid);
	if (r == 0)
		r = number32_parse("MS", args->words[1], UINT32_MAX, &fault.ms);
	return r != 0 ? r : fault_add(sim, &fault);
}

static int command_hang(struct sim *sim, const struct arguments *args)
{
	return timed(sim, args, SIM_FAULT_HANG);
}

static int command_reset(struct sim *sim, const struct arguments *args)
{
	return timed(sim, args, SIM_FAULT_RESET);
}

static int command_unplug(struct sim *sim, const struct arguments *args)
{
	struct timespec pause = {.tv_nsec = 5000000};
	struct rid rid;
	int r;

	if (args->count != 1)
		return usage("unplug wants RID");
	r = rid_parse(args->words[0], &rid);
	if (r != 0)
		return r;
	r = sim_unplug(sim, rid);
	for (uint32_t ms = 0; r == -EBUSY && ms < args->wait_ms; ms += 5) {
		(void)nanosleep(&pause, NULL);
		r = sim_unplug(sim, rid);
	}
	if (r == -EBUSY) {
		(void)fprintf(stderr,
			"pasid-sim: %s is still in use after %u ms; it goes when the last one "
			"has closed it, and nobody can open it until it is plugged in again\n",
			args->words[0], args->wait_ms);
		return EXIT_FAILURE;
	}
	return r < 0 ? failed(args->words[0], r) : EXIT_SUCCESS;
}

static int command_plug(struct sim *sim, const struct arguments *args)
{
	struct rid rid;
	int r;

	if (args->count != 1)
		return usage("plug wants RID");
	r = rid_parse(args->words[0], &rid);
	if (r != 0)
		return r;
	r = sim_plug(sim, rid);
	return r < 0 ? failed(args->words[0], r) : EXIT_SUCCESS;
}

static int command_latency(struct sim *sim, const struct arguments *args)
{
	struct sim_fault fault = args->fault;
	int r;

	if (args->count != 1)
		return usage("latency wants US");
	fault.kind = SIM_FAULT_LATENCY;
	r = number32_parse("US", args->words[0], UINT32_MAX, &fault.us);
	return r != 0 ? r : fault_add(sim, &fault);
}

static int command_clear(struct sim *sim, const struct arguments *args)
{
	int r;

	if (args->count != 0)
		return usage("clear takes no arguments");
	r = sim_fault_clear(sim);
	return r < 0 ? failed("cannot clear", r) : EXIT_SUCCESS;
}

static const struct {
	const char *name;
	int (*run)(struct sim *sim, const struct arguments *args);
} commands[] = {
	{"tables", command_tables},
	{"walk", command_walk},
	{"fail", command_fail},
	{"hang", command_hang},
	{"reset", command_reset},
	{"unplug", command_unplug},
	{"plug", command_plug},
	{"latency", command_latency},
	{"clear", command_clear},
};

static int create(const struct arguments *args)
{
	struct error error = {0};
	int r;

	if (args->count != 0)
		return usage("create takes options only");
	r = sim_create(args->dir, &args->config, &error);
	if (r > 0) {
		(void)fprintf(stderr, "pasid-sim: %s\n", error.text);
		return EXIT_USAGE;
	}
	return r < 0 ? failed(args->dir, r) : EXIT_SUCCESS;
}

static int run(const struct arguments *args)
{
	__attribute__((cleanup(sim_close_p))) struct sim *sim = NULL;
	int r;

	if (strcmp(args->command, "create") == 0)
		return create(args);
	if (args->creates)
		return usage("an option of create does not go with %s", args->command);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(args->command, commands[i].name) != 0)
			continue;
		r = sim_open(args->dir, &sim);
		return r < 0 ? failed(args->dir, r) : commands[i].run(sim, args);
	}
	return usage("there is no command '%s'", args->command);
}

int main(int argc, char **argv)
{
	struct arguments args = {.config = SIM_CONFIG_DEFAULT, .wait_ms = 10000};
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
		r = option == '?' ? EXIT_USAGE : option_take(&args, option);
	}
	if (r != 0)
		return r;
	if (argc - optind < 2)
		return usage("a directory and a command are wanted");
	args.dir = argv[optind];
	args.command = argv[optind + 1];
	args.words = argv + optind + 2;
	args.count = argc - optind - 2;
	r = run(&args);
	if (fflush(stdout) != 0 && r == EXIT_SUCCESS)
		r = failed("cannot write", -EIO);
	return r;
}
