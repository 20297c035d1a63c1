from tests.boxes import box, client, new_container

__all__ = ["box", "client", "new_container"]
