from fastapi import APIRouter
def admin_routes(site, live):
    return APIRouter()
