"""The extension itself: what Jupyter Server loads, starts and stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.extension.application import ExtensionApp
from traitlets import Unicode, default

from chi_edge_lab.server.limits import EdgeLabLimits
from chi_edge_lab.server.routes import PREFIX, routes
from chi_edge_lab.server.services import Services


class EdgeLab(ExtensionApp):
    """Edge containers from JupyterLab: the part that speaks with the sites."""

    name = "chi_edge_lab"
    extension_url = f"{PREFIX}/status"
    load_other_extensions = True
    classes = [EdgeLabLimits]  # noqa: RUF012 - traitlets' own spelling

    data_directory = Unicode(
        help="Where recordings and the journal of transfers are kept. Default: chi-edge-lab in Jupyter's data folder."
    ).tag(config=True)

    @default("data_directory")
    def _data_directory(self) -> str:
        return str(Path(jupyter_data_dir()) / "chi-edge-lab")

    def initialize_settings(self) -> None:
        """Make the services; nothing is sent to any site before somebody asks."""
        logger = getattr(self.serverapp, "event_logger", None)
        self.services = Services(
            EdgeLabLimits(parent=self), data_dir=Path(self.data_directory), event_logger=logger
        )
        self.settings["chi_edge_lab_services"] = self.services

    def initialize_handlers(self) -> None:
        """Enter the routes."""
        self.handlers.extend(routes())

    async def _start_jupyter_server_extension(self, _serverapp: Any) -> None:
        """On the loop: begin what runs by itself."""
        await self.services.start()

    async def stop_extension(self) -> None:
        """End everything that was started."""
        await self.services.stop()
