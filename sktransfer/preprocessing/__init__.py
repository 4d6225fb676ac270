"""What prepares tables for transfer: mixed columns, domains on their own scales."""

from sktransfer.preprocessing._domain_scaler import DomainScaler
from sktransfer.preprocessing._table_encoder import TableEncoder

__all__ = ["DomainScaler", "TableEncoder"]
