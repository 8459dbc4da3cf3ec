/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbusctl.h"
#include "evbusctl-output.h"

#include <fcntl.h>
#include <locale.h>
#include <unistd.h>

/* A standard stream that the caller closed would be the number of the next
 * file opened, such as the bus's socket. Open in the wrong direction, it gives
 * the error that a closed one would. */
static void
occupy_standard_streams (void)
{
  int fd;

  for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl (fd, F_GETFD) < 0)
      (void) open ("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int
main (int    argc,
      char **argv)
{
  occupy_standard_streams ();
  setlocale (LC_ALL, "");
  g_log_set_writer_func (evbusctl_log_writer, NULL, NULL);

  return evbusctl_run (argc, argv);
}
