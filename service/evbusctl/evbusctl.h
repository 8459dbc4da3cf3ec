/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* Exit codes. They are promises to scripts: doc/man/evbusctl.1 lists them. */
enum {
  EVBUSCTL_OK               = 0,
  EVBUSCTL_FAILED           = 1,   /* refused, mistaken, not found, lost on the way */
  EVBUSCTL_USAGE            = 2,   /* the command line itself is wrong */
  EVBUSCTL_MISSING_PROVIDER = 3,   /* check-config: nothing wrong but plugins that are not there */
  EVBUSCTL_UNREACHABLE      = 4,   /* no bus, or no service on it: nothing was asked */
  EVBUSCTL_UNDELIVERED      = 5,   /* put --wait, test-route: a route gave the event up */
  EVBUSCTL_PENDING          = 6,   /* the same: a route has it still, and the time is over */
  EVBUSCTL_INTERRUPTED      = 130, /* SIGINT or SIGTERM before the work was done */
};

/* ---- evbusctl-command.c: the table of commands ---- */

typedef struct {
  const char         *name;
  const char         *arguments;     /* as the usage line shows them */
  const char         *summary;       /* one line */
  const char         *description;   /* the rest of --help */
  guint               min_arguments;
  guint               max_arguments;
  gboolean            uses_bus;
  const GOptionEntry *entries;       /* NULL: none of its own */
  int              (* run) (char **arguments);
} EvbusctlCommand;

int  evbusctl_run         (int          argc,
                           char       **argv);

/* How long (seconds) a command can be told to wait for a delivery. */
#define EVBUSCTL_MAX_WAIT 86400

/* One file per group of commands. */
extern const GOptionEntry evbusctl_put_entries[];
extern const GOptionEntry evbusctl_generate_entries[];
extern const GOptionEntry evbusctl_monitor_entries[];
extern const GOptionEntry evbusctl_status_entries[];
extern const GOptionEntry evbusctl_explain_entries[];
extern const GOptionEntry evbusctl_dead_entries[];
extern const GOptionEntry evbusctl_test_entries[];
extern const GOptionEntry evbusctl_providers_entries[];

int  evbusctl_put          (char **arguments);
int  evbusctl_generate     (char **arguments);
int  evbusctl_monitor      (char **arguments);
int  evbusctl_status       (char **arguments);
int  evbusctl_routes       (char **arguments);
int  evbusctl_explain      (char **arguments);
int  evbusctl_dead         (char **arguments);
int  evbusctl_forget       (char **arguments);
int  evbusctl_name_orphan  (char **arguments);
int  evbusctl_reload       (char **arguments);
int  evbusctl_pause        (char **arguments);
int  evbusctl_resume       (char **arguments);
int  evbusctl_flush        (char **arguments);
int  evbusctl_test_route   (char **arguments);
int  evbusctl_check_config (char **arguments);
int  evbusctl_providers    (char **arguments);

/* ---- evbusctl-body.c: what stands for a body on the command line ---- */

/* The largest array that a D-Bus message can hold. */
#define EVBUSCTL_MAX_BODY (64u * 1024u * 1024u)

/* The body of one event as it goes over the bus: a JSON document unchanged, as
 * bytes with their content type, or a value with no options (NULL). */
typedef struct {
  GVariant *value;
  GVariant *options;
  gsize     size;
} EvbusctlBody;

gboolean evbusctl_body_parse (EvbusctlBody  *body,
                              const char    *text,
                              gsize          length,
                              gboolean       gvariant,
                              GError       **error);
GVariant *evbusctl_body_dup_value (const EvbusctlBody *body);
void     evbusctl_body_clear (EvbusctlBody  *body);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (EvbusctlBody, evbusctl_body_clear)

/* ---- evbusctl-file.c ---- */

GByteArray *evbusctl_read_file (const char  *path,
                                gsize        max,
                                GError     **error);

/* ---- evbusctl-value.c: an event's body as JSON ---- */

gboolean evbusctl_append_json_body (GString   *string,
                                    GVariant  *body,
                                    GError   **error);

/* ---- evbusctl-stream.c: `put KEY -` ---- */

int  evbusctl_put_stream   (const char *routing_key,
                            const char *profile,
                            gboolean    gvariant);

G_END_DECLS
