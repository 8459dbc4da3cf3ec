/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* To be preloaded: a thread of the program that gets SIGUSR2, from tgkill(2), does
 * nothing more for ever, and keeps what it has. */

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static void
freeze (int number)
{
  for (;;)
    pause ();
}

__attribute__ ((constructor)) static void
prepare (void)
{
  struct sigaction action = { .sa_handler = freeze };

  sigaction (SIGUSR2, &action, NULL);
}
