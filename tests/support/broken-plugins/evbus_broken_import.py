# SPDX-License-Identifier: LGPL-2.1-or-later
import evbus_module_that_does_not_exist  # noqa: F401
