/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The backend ABI of OpenNRT: what stands where the silicon would be.
 *
 * A backend is a shared object that exports one function, opennrt_backend_entry(), which returns a table of functions.
 * The operations are those that the public Neuron kernel driver offers through /dev/neuron<N> (aws-neuron-driver
 * neuron_ioctl.h), no more: memory, DMA queues, registers, semaphores, notification queues, reset, ownership. Models and
 * inferences are not known here; core/umd builds them, once, for every backend. docs/backend.md tells how to write one;
 * backends/null is the smallest, a template to copy.
 *
 * Return values: 0, or a negative errno as the kernel driver would return it. An operation that a device cannot do returns
 * -ENOTSUP; a function pointer after `device_close` may be NULL, which means the same. In a child of the process that opened the
 * backend every function returns -EACCES and changes nothing.
 * Threads: every function may be called from any thread, at the same time, unless its comment says otherwise.
 * Ownership: what a function hands out (backend, device, memory handle, mapping) is freed by its named counterpart, in
 * reverse order; device_close frees what the caller forgot. A backend never prints, never exits, never throws: it has
 * `host->log`.
 * Addresses ("device addresses") are 64 bit as DMA descriptors have them; see core/isa/inf1.h for Inf1's map.
 */
#ifndef OPENNRT_BACKEND_H
#define OPENNRT_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Major: incompatible change. Minor: functions appended to the table; `size` tells how many a backend has. */
#define OPENNRT_BACKEND_ABI_MAJOR 1
#define OPENNRT_BACKEND_ABI_MINOR 0

#define OPENNRT_MAX_DEVICES 64
#define OPENNRT_MAX_CORES 256 /**< bits of a core map */

typedef struct opennrt_backend opennrt_backend_t; /**< one instance, from open() to close() */
typedef struct opennrt_device opennrt_device_t;   /**< one opened device */
typedef uint64_t opennrt_mem_t;                   /**< memory handle of one device; 0 is never one */

/** Severity of a log line, as the Neuron runtime orders them. */
typedef enum {
  OPENNRT_LOG_ERROR = 1,
  OPENNRT_LOG_WARNING = 2,
  OPENNRT_LOG_INFO = 3,
  OPENNRT_LOG_DEBUG = 4,
  OPENNRT_LOG_TRACE = 5
} opennrt_log_level_t;

/** What the runtime offers a backend. Valid from open() to the end of close(). Thread-safe. */
typedef struct {
  size_t size;   /**< sizeof of this struct */
  void* context; /**< first argument of every function here */
  void (*log)(void* context, opennrt_log_level_t level, const char* function, const char* text);
  bool (*log_enabled)(void* context, opennrt_log_level_t level);
  /** Value of a configuration variable (OPENNRT_… or NEURON_RT_…) as read once at nrt_init, or NULL. */
  const char* (*config)(void* context, const char* name);
  const char* data_dir; /**< folder of the installed data files (chips/ is in it) */
} opennrt_host_t;

typedef struct {
  uint32_t major, minor;   /**< driver release, e.g. 2 and 24 */
  char text[32];           /**< the same as text */
  uint32_t compatible_min; /**< range of runtime versions that it serves (NEURON_IOCTL_COMPATIBLE_VERSION) */
  uint32_t compatible_max;
} opennrt_driver_version_t;

typedef struct {
  uint32_t architecture; /**< 1 = Inferentia (NEURON_ARCH_V1), others as the driver numbers them */
  uint32_t revision;     /**< PCI revision */
  uint32_t core_count;   /**< NeuronCores of the device */
  uint32_t first_core;   /**< machine-wide number of its core 0 */
  uint32_t dram_channels;
  uint64_t dram_channel_bytes;
  uint32_t dma_engines_per_core, queues_per_dma_engine;
  uint32_t connected_count;
  uint32_t connected[8]; /**< neighbours' device numbers */
  uint32_t pci_domain, pci_bus;
  uint8_t pci_slot, pci_function;
  char instance_type[24];    /**< e.g. "inf1.6xlarge" */
  uint32_t open_isa_version; /**< version of docs/isa.md that the engines execute; 0: they do not (silicon) */
  uint32_t sbuf_bytes_per_partition, psum_bytes_per_partition;
  bool virtual_time;     /**< clock() is simulated time: it moves only while somebody waits in wait() or copies */
  uint32_t dram_regions; /**< pools of equal size that each channel is cut into; 0 means 1 */
} opennrt_device_info_t;

typedef struct {
  uint64_t bits[OPENNRT_MAX_CORES / 64];
} opennrt_core_map_t;

/** Who holds a core: pid 0 = nobody. */
typedef struct {
  int32_t pid;
  char command[64];
} opennrt_core_holder_t;

/** Categories of memory, for accounting (mem_alloc_category_t of the driver, same values). */
typedef enum {
  OPENNRT_MEM_CODE_HOST = 1,
  OPENNRT_MEM_TENSORS_HOST = 2,
  OPENNRT_MEM_CONSTANTS_HOST = 3,
  OPENNRT_MEM_MISC_HOST = 4,
  OPENNRT_MEM_NOTIFICATION_HOST = 6,
  OPENNRT_MEM_CODE_DEVICE = 8,
  OPENNRT_MEM_TENSORS_DEVICE = 9,
  OPENNRT_MEM_CONSTANTS_DEVICE = 10,
  OPENNRT_MEM_SCRATCHPAD_DEVICE = 11,
  OPENNRT_MEM_MISC_DEVICE = 12,
  OPENNRT_MEM_NOTIFICATION_DEVICE = 16,
  OPENNRT_MEM_DMA_RINGS_HOST = 17,
  OPENNRT_MEM_DMA_RINGS_DEVICE = 18
} opennrt_mem_category_t;

typedef struct {
  uint64_t bytes;        /**< > 0 */
  uint64_t alignment;    /**< 0 or a power of two */
  bool host_memory;      /**< memory of the host that the device can reach by DMA, else device DRAM */
  uint32_t dram_channel; /**< device memory: 0 or 1 */
  uint32_t dram_region;  /**< device memory: pool of the channel, below dram_regions; what is allocated lies in one */
  uint32_t core;         /**< core of the device that it is accounted to */
  opennrt_mem_category_t category;
} opennrt_mem_params_t;

typedef struct {
  uint64_t device_address; /**< what a DMA descriptor takes */
  uint64_t bytes;
  bool host_memory;
  int32_t pid; /**< who allocated it */
} opennrt_mem_info_t;

/** Device memory of one core: what is in use by this process and by all, and what could still be allocated. */
typedef struct {
  uint64_t used_by_process, used, capacity; /**< capacity - used: free DRAM of the device; cores share it */
} opennrt_mem_stats_t;

typedef enum { OPENNRT_QUEUE_TX = 0, OPENNRT_QUEUE_RX = 1, OPENNRT_QUEUE_COMPLETION = 2 } opennrt_queue_type_t;

/** Prepares one DMA queue: pointers to 0, ring id 1 (NEURON_IOCTL_DMA_QUEUE_INIT). Sizes are multiples of 16, >= 32. */
typedef struct {
  uint32_t engine, queue;         /**< engine 0..11 of the device, queue 0..15 */
  uint32_t tx_count, rx_count;    /**< descriptors in the rings */
  opennrt_mem_t tx_ring, rx_ring; /**< the rings' memory, offset 0 */
} opennrt_queue_init_t;

typedef struct {
  uint32_t hardware_status, software_status;
  uint64_t base;
  uint32_t length, head, tail;
} opennrt_queue_state_t;

typedef enum {
  OPENNRT_DMA_DISABLE = 0,
  OPENNRT_DMA_IDLE,
  OPENNRT_DMA_NORMAL,
  OPENNRT_DMA_ABORT,
  OPENNRT_DMA_RESET
} opennrt_dma_state_t;

typedef struct {
  uint32_t revision, max_queues, queues, tx_state, rx_state; /**< states: opennrt_dma_state_t */
} opennrt_dma_engine_state_t;

typedef enum {
  OPENNRT_NQ_TRACE = 0,
  OPENNRT_NQ_NOTIFY = 1,
  OPENNRT_NQ_EVENT = 2,
  OPENNRT_NQ_ERROR = 3
} opennrt_nq_type_t;

/** A notification queue in host memory: a ring of 16-byte entries that the device writes and the caller reads. */
typedef struct {
  opennrt_mem_t memory;
  const volatile void* entries; /**< mapped, read only by convention */
  uint32_t bytes;               /**< power of two */
} opennrt_nq_t;

typedef enum { OPENNRT_LOCK_READ = 0, OPENNRT_LOCK_WRITE = 1 } opennrt_lock_mode_t;

typedef struct opennrt_backend_api {
  uint32_t abi_major, abi_minor;
  size_t size;             /**< sizeof of this struct as the backend was compiled */
  const char* name;        /**< "sim", "null", … */
  const char* description; /**< one sentence for a person */

  /* ---- the backend ---- */
  int (*open)(const opennrt_host_t* host, opennrt_backend_t** backend);
  void (*close)(opennrt_backend_t* backend);
  int (*version)(opennrt_backend_t* backend, opennrt_driver_version_t* version);
  /** Numbers of the devices this process can see, ascending. `count` in: room, out: how many there are. */
  int (*devices)(opennrt_backend_t* backend, uint32_t* numbers, uint32_t* count);
  int (*device_open)(opennrt_backend_t* backend, uint32_t number, opennrt_device_t** device);
  void (*device_close)(opennrt_device_t* device);
  int (*device_info)(opennrt_device_t* device, opennrt_device_info_t* info);

  /* ---- cores: one process at a time (NEURON_IOCTL_CRWL_NC_RANGE_MARK). Machine-wide core numbers. ---- */
  /** Takes the first `count` consecutive free cores in [first, last]; exactly the range when it has `count` cores. All or none.
     *  -EBUSY: there is no such run; *available is the length of the longest. The cores are free again when the process ends in
     *  whatever way. */
  int (*cores_reserve)(opennrt_backend_t* backend, uint32_t count, uint32_t first, uint32_t last,
                       opennrt_core_map_t* taken, uint32_t* available);
  int (*cores_release)(opennrt_backend_t* backend, const opennrt_core_map_t* cores);
  int (*core_holder)(opennrt_backend_t* backend, uint32_t core, opennrt_core_holder_t* holder);
  /** Reader/writer lock of a core within its owner (NEURON_IOCTL_CRWL_*); uuid is the model's, 32 bytes. Unlocking in write mode makes
     *  the writer the first reader. -EALREADY: locked for writing, and the model is on the core already; -ENOENT: another model is. */
  int (*core_lock)(opennrt_device_t* device, uint32_t core, opennrt_lock_mode_t mode, const uint8_t uuid[32]);
  int (*core_unlock)(opennrt_device_t* device, uint32_t core, opennrt_lock_mode_t mode, const uint8_t uuid[32]);

  /* ---- memory. `core` and DMA engine numbers from here on are the device's own (0..3, 0..11). ---- */
  int (*mem_alloc)(opennrt_device_t* device, const opennrt_mem_params_t* params,
                   opennrt_mem_t* memory); /**< -ENOMEM: full */
  int (*mem_free)(opennrt_device_t* device, opennrt_mem_t memory);
  int (*mem_info)(opennrt_device_t* device, opennrt_mem_t memory, opennrt_mem_info_t* info);
  int (*mem_map)(opennrt_device_t* device, opennrt_mem_t memory,
                 void** address); /**< host memory only; -ENOTSUP for DRAM */
  int (*mem_unmap)(opennrt_device_t* device, opennrt_mem_t memory);
  /** Copies between a buffer of this process and device or host memory; blocks until done. -EINVAL: out of its bounds. */
  int (*mem_write)(opennrt_device_t* device, opennrt_mem_t memory, uint64_t offset, const void* buffer, uint64_t bytes);
  int (*mem_read)(opennrt_device_t* device, opennrt_mem_t memory, uint64_t offset, void* buffer, uint64_t bytes);
  int (*mem_copy)(opennrt_device_t* device, opennrt_mem_t from, uint64_t from_offset, opennrt_mem_t to,
                  uint64_t to_offset, uint64_t bytes);
  int (*mem_set)(opennrt_device_t* device, opennrt_mem_t memory, uint64_t offset, uint32_t value,
                 uint64_t bytes); /**< byte value */
  int (*mem_stats)(opennrt_device_t* device, uint32_t core, opennrt_mem_stats_t* stats);

  /* ---- DMA ---- */
  int (*dma_engine_set_state)(opennrt_device_t* device, uint32_t engine, opennrt_dma_state_t state);
  int (*dma_engine_get_state)(opennrt_device_t* device, uint32_t engine, opennrt_dma_engine_state_t* state);
  /** Several queues in one call (NEURON_IOCTL_DMA_QUEUE_INIT_BATCH). Stops at the first that fails. */
  int (*dma_queue_init)(opennrt_device_t* device, const opennrt_queue_init_t* queues, uint32_t count);
  /** Writes descriptors into ring memory after checking their addresses (NEURON_IOCTL_DMA_COPY_DESCRIPTORS). `offset` in bytes. */
  int (*dma_write_descriptors)(opennrt_device_t* device, opennrt_mem_t ring, uint64_t offset, const void* descriptors,
                               uint32_t count, opennrt_queue_type_t type);
  /** Rings the doorbell: adds to the tails, RX first (NEURON_IOCTL_DMA_QUEUE_COPY_START). Does not wait. */
  int (*dma_queue_start)(opennrt_device_t* device, uint32_t engine, uint32_t queue, uint32_t tx_count,
                         uint32_t rx_count);
  int (*dma_queue_get_state)(opennrt_device_t* device, uint32_t engine, uint32_t queue, opennrt_queue_state_t* tx,
                             opennrt_queue_state_t* rx);
  int (*dma_queue_release)(opennrt_device_t* device, uint32_t engine, uint32_t queue);
  /** Stops all queues of a core but the driver's own (NEURON_IOCTL_DMA_QUIESCE_QUEUES). */
  int (*dma_quiesce)(opennrt_device_t* device, uint32_t core);

  /* ---- registers, semaphores, events ---- */
  int (*bar_read)(opennrt_device_t* device, uint32_t bar, const uint64_t* offsets, uint32_t* values, uint32_t count);
  int (*bar_write)(opennrt_device_t* device, uint32_t bar, const uint64_t* offsets, const uint32_t* values,
                   uint32_t count);
  int (*semaphore_read)(opennrt_device_t* device, uint32_t core, uint32_t semaphore, uint32_t* value);
  int (*semaphore_write)(opennrt_device_t* device, uint32_t core, uint32_t semaphore, uint32_t value);
  int (*semaphore_increment)(opennrt_device_t* device, uint32_t core, uint32_t semaphore, uint32_t value);
  int (*semaphore_decrement)(opennrt_device_t* device, uint32_t core, uint32_t semaphore, uint32_t value);
  int (*event_get)(opennrt_device_t* device, uint32_t core, uint32_t event, uint32_t* value);
  int (*event_set)(opennrt_device_t* device, uint32_t core, uint32_t event, uint32_t value);

  /* ---- notifications ---- */
  /** Creates (or finds) a queue in host memory. `engine`: 0..3; 0 for OPENNRT_NQ_ERROR and OPENNRT_NQ_EVENT. `bytes`: a power of two;
     *  one that is there keeps its size. After a reset of its core it starts again, empty, with nq_init, maybe elsewhere: take `*queue`. */
  int (*nq_init)(opennrt_device_t* device, uint32_t core, opennrt_nq_type_t type, uint32_t engine, uint32_t bytes,
                 opennrt_nq_t* queue);
  int (*nq_destroy)(opennrt_device_t* device, uint32_t core, opennrt_nq_type_t type, uint32_t engine);
  /** Tells the device how far the caller has read: entries since nq_init, all passes counted. */
  int (*nq_consume)(opennrt_device_t* device, uint32_t core, opennrt_nq_type_t type, uint32_t engine, uint64_t entries);

  /* ---- reset ---- */
  int (*reset_start)(opennrt_device_t* device, uint32_t core_map,
                     uint32_t* request); /**< bit per core, 0xffffffff = device */
  int (*reset_wait)(opennrt_device_t* device, uint32_t request, int32_t* result);

  /* ---- time ---- */
  int (*clock)(opennrt_device_t* device, uint64_t* nanoseconds); /**< the device's clock, monotonic */
  /** Blocks until the device has written more than `seen` notification entries for `core` since its queues were made
     *  (all types together, queues that are there now): 0. -ETIMEDOUT: clock() has reached `deadline`, or a simulated device knows
     *  that nothing can happen before it any more; clock() may then still be before it, so that one core's hang does not run into
     *  other cores' deadlines. NULL: the caller polls the queues and clock() itself. */
  int (*wait)(opennrt_device_t* device, uint32_t core, uint64_t seen, uint64_t deadline);

  /* ---- counters that other processes can read (datastore of the driver) ---- */
  int (*counters_map)(opennrt_device_t* device, int32_t pid, void** address,
                      size_t* bytes); /**< pid 0: this process, writable */
  int (*counters_unmap)(opennrt_device_t* device, void* address);

  /** clock() when the first doorbell of the core was rung since somebody last returned from waiting for it. A simulated device
     *  that fixes the order of admission (OPENNRT_SIM_DETERMINISTIC) may ring later than dma_queue_start is called. Optional. */
  int (*work_started)(opennrt_device_t* device, uint32_t core, uint64_t* nanoseconds);

  /** The program has passed a marker of its fault plan (docs/fault-injection.md), for rules of a simulated device that hold between
     *  markers. Optional. */
  int (*marker)(opennrt_backend_t* backend, const char* name);
} opennrt_backend_api_t;

/** The one symbol of a backend. The table is static. Returns NULL when it cannot serve `abi_major`. */
#define OPENNRT_BACKEND_ENTRY "opennrt_backend_entry"
typedef const opennrt_backend_api_t* (*opennrt_backend_entry_t)(uint32_t abi_major);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_BACKEND_H */
