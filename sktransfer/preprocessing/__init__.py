"""What prepares tables for transfer: mixed columns become numbers."""

from sktransfer.preprocessing._table_encoder import TableEncoder

__all__ = ["TableEncoder"]
